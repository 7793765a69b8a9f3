package metrics

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var r Recorder
	if snapshot := r.Snapshot(); snapshot.Bootstrap != -1 {
		t.Error("a fresh recorder claims to know Tor")
	}
	for range 12 {
		r.SessionStarted()
	}
	for range 3 {
		r.UpstreamFailed("tls")
	}
	r.UpstreamConnected("tor")
	r.UpstreamConnected("socks:proxy.example.org")
	r.UpstreamConnected("socks:other")
	r.Moved(400, 1500, 4, 15)
	r.Moved(600, 500, 6, 5)
	r.SessionEnded()
	snapshot := r.Snapshot()
	snapshot.Sessions = map[Kind]int{{"relaying", "tor"}: 2, {"dialing", "socks"}: 1}
	snapshot.Bootstrap = 45
	s := Serve(l, "0.1.0", func() Snapshot { return snapshot })
	defer s.Close()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}

	code, body := get("/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	for _, want := range []string{
		`xmpp_gw_build_info{version="0.1.0"} 1`,
		`xmpp_gw_sessions{route="tor",state="relaying"} 2`,
		`xmpp_gw_sessions{route="socks",state="dialing"} 1`,
		`xmpp_gw_sessions_accepted_total 12`,
		`xmpp_gw_upstream_connects_total{route="socks"} 2`,
		`xmpp_gw_upstream_connects_total{route="tor"} 1`,
		`xmpp_gw_upstream_failures_total{class="tls"} 3`,
		`xmpp_gw_bytes_total{direction="up"} 1000`,
		`xmpp_gw_bytes_total{direction="down"} 2000`,
		`xmpp_gw_stanzas_total{direction="up"} 10`,
		`xmpp_gw_stanzas_total{direction="down"} 20`,
		`xmpp_gw_tor_bootstrap_ratio 0.45`,
		`go_goroutines `,
	} {
		if !strings.Contains(body, want+"\n") && !strings.Contains(body, "\n"+want) {
			t.Errorf("no %s", want)
		}
	}

	if strings.Contains(body, "example") {
		t.Error("a route's name is shown")
	}

	snapshot.Bootstrap = -1
	if _, body := get("/metrics"); strings.Contains(body, "tor_bootstrap") {
		t.Error("a bootstrap is shown where no Tor is used")
	}
	if code, _ := get("/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("another path gets %d", code)
	}
}
