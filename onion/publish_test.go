package onion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is an uploads with one service, and its state.
func watched(t *testing.T) (w *uploads, id string, now func() ServiceState) {
	t.Helper()
	w = &uploads{changes: new(signal)}
	const address = "abc.onion"
	w.expect([]Publication{{Service: Service{Name: "x"}, Address: address}}, map[string]bool{address: true})
	return w, "abc", func() ServiceState { return w.states()[0] }
}

// A line of the script is an event, or the state that is wanted after those
// before it.
func TestUploads(t *testing.T) {
	const (
		up1, up2 = "UPLOAD abc UNKNOWN $A~a D1 HSDIR_INDEX=00", "UPLOAD abc UNKNOWN $B~b D1 HSDIR_INDEX=00"
		up3      = "UPLOAD abc UNKNOWN $A~a D2 HSDIR_INDEX=00"
		ok1, ok2 = "UPLOADED abc UNKNOWN $A~a", "UPLOADED abc UNKNOWN $B~b"
		no1, no2 = "FAILED abc UNKNOWN $A~a REASON=UPLOAD_REJECTED", "FAILED abc UNKNOWN $B~b REASON=UNEXPECTED"
	)
	for name, script := range map[string][]string{
		"nothing yet":                        {"=publishing 0/0"},
		"as many as were sent":               {up1, up2, up3, ok1, ok2, "=publishing 1/2", ok1, "=published 2/2"},
		"the second descriptor is awaited":   {up1, ok1, "=publishing 1/1", up3, ok1, "=published 1/1"},
		"one refuses":                        {up1, up2, up3, no1, ok2, no1, "=published 1/2 UPLOAD_REJECTED"},
		"all refuse":                         {up1, up2, no1, no2, "=failed 0/2 UNEXPECTED", up1, "=publishing 0/2", ok1, up3, ok1, "=published 1/2 UNEXPECTED"},
		"a renewal is no step back":          {up1, up3, ok1, ok1, up1, "=published 0/1", ok1, "=published 1/1"},
		"a client's failed fetch is no news": {up1, up3, ok1, ok1, "FAILED abc NO_AUTH $C~c D REASON=NOT_FOUND", "=published 1/1"},
		"another's descriptor":               {"UPLOAD xyz UNKNOWN $A~a D1", "CREATED abc UNKNOWN UNKNOWN D1", "REQUESTED abc NO_AUTH $A~a D1", "x", "=publishing 0/0"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, now := watched(t)
			for i, line := range script {
				want, check := strings.CutPrefix(line, "=")
				if !check {
					w.event(line, time.Now())
					continue
				}
				s := now()
				got := fmt.Sprintf("%s %d/%d", s.State, s.Uploaded, s.Uploads)
				state, reason, _ := strings.Cut(want, "/")
				number, reason, _ := strings.Cut(reason, " ")
				if got != state+"/"+number || !strings.Contains(s.Error, reason) || reason == "" && s.State == StatePublished && s.Error != "" {
					t.Errorf("after line %d: %s %q, want %s", i, got, s.Error, want)
				}
			}
		})
	}
	t.Run("a long time later the count is a new one", func(t *testing.T) {
		w, _, now := watched(t)
		for _, e := range []string{up1, up3, ok1, ok1} {
			w.event(e, time.Now())
		}
		for _, e := range []string{up2, ok2} {
			w.event(e, time.Now().Add(time.Hour))
		}
		if s := now(); s.State != StatePublished || s.Uploads != 1 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("nobody takes the renewal", func(t *testing.T) {
		w, _, now := watched(t)
		for _, e := range []string{up1, up3, ok1, ok1} {
			w.event(e, time.Now())
		}
		for _, e := range []string{up1, up2, no1} {
			w.event(e, time.Now().Add(time.Hour))
		}
		if s := now(); s.State != StatePublished {
			t.Errorf("one directory may still take it: %+v", s)
		}
		w.event(no2, time.Now().Add(time.Hour))
		if s := now(); s.State != StateFailed || s.Error == "" {
			t.Errorf("no directory has it: %+v", s)
		}
	})
	t.Run("some directory never answers", func(t *testing.T) {
		w, id, now := watched(t)
		for _, e := range []string{up1, up2, ok1} {
			w.event(e, time.Now())
		}
		w.settle(w.services[id]) // what the timer does
		if s := now(); s.State != StatePublished || s.Uploaded != 1 || s.Uploads != 2 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("tor ends", func(t *testing.T) {
		w, _, now := watched(t)
		w.lost()
		if s := now(); s.State != StateFailed || s.Error == "" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestCompare(t *testing.T) {
	pub := func(address string, clients ...string) Publication {
		return Publication{Service: Service{Name: address}, Address: address, Dir: "/" + address, clients: clients}
	}
	keys := func(m map[string]bool) string {
		var all []string
		for k := range m {
			all = append(all, k)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	moved := pub("a")
	moved.Dir = "/b/previous/a"
	for _, tt := range []struct {
		name          string
		old, next     []Publication
		any           bool
		upload, close string
	}{
		{"nothing", nil, nil, false, "", ""},
		{"same", []Publication{pub("a", "k")}, []Publication{pub("a", "k")}, false, "", ""},
		{"another order", []Publication{pub("a"), pub("b")}, []Publication{pub("b"), pub("a")}, false, "", ""},
		{"new", []Publication{pub("a")}, []Publication{pub("a"), pub("b", "k")}, true, "b", ""},
		{"gone", []Publication{pub("a"), pub("b")}, []Publication{pub("b")}, true, "", ""},
		{"another folder", []Publication{pub("a")}, []Publication{moved}, true, "", ""},
		{"one more client", []Publication{pub("a", "k")}, []Publication{pub("a", "k", "l")}, true, "a", ""},
		{"the first client", []Publication{pub("a")}, []Publication{pub("a", "k")}, true, "a", "a"},
		{"a client less", []Publication{pub("a", "k", "l")}, []Publication{pub("a", "l")}, true, "a", "a"},
		{"another client", []Publication{pub("a", "k")}, []Publication{pub("a", "l")}, true, "a", "a"},
		{"open again", []Publication{pub("a", "k")}, []Publication{pub("a")}, true, "a", ""},
	} {
		p := compare(tt.old, tt.next)
		if p.any != tt.any || keys(p.upload) != tt.upload || keys(p.close) != tt.close {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}
}

// onionControl is a system's Tor that publishes what it is told, at once.
func onionControl(t *testing.T, refuse func(command string) string) (*fakeControl, func() []string) {
	var mu sync.Mutex
	var commands []string
	f := newFakeControl(t, func(command string) string {
		if reply := refuse(command); reply != "" {
			return reply
		}
		mu.Lock()
		defer mu.Unlock()
		commands = append(commands, command)
		return "250 OK\r\n"
	})
	return f, func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := commands
		commands = nil
		return out
	}
}

func systemTor(t *testing.T, f *fakeControl) *Tor {
	t.Helper()
	tor := newTor(Options{})
	tor.control = dialFake(t, f)
	tor.publisher = &systemPublisher{addr: f.addr}
	t.Cleanup(func() { tor.Close() })
	return tor
}

func TestPublishSystem(t *testing.T) {
	refusal := ""
	f, said := onionControl(t, func(command string) string {
		if strings.HasPrefix(command, "ADD_ONION") {
			return refusal
		}
		return ""
	})
	tor, shelf := systemTor(t, f), openShelf(t)
	e := mustCreate(t, shelf, "x", func(s *Service) { s.MaxStreams, s.PoW = 7, PoW{true, 1, 2} })
	publish := func() error {
		t.Helper()
		e, err := shelf.Get("x")
		if err != nil {
			t.Fatal(err)
		}
		return tor.Publish(t.Context(), e.Publications([]Port{{5222, "unix:/f"}}))
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	key, err := shelf.Key("x")
	if err != nil {
		t.Fatal(err)
	}
	want := "ADD_ONION " + key.blob() + " Flags=MaxStreamsCloseCircuit MaxStreams=7 PoWDefensesEnabled=1 PoWQueueRate=1 PoWQueueBurst=2 Port=5222,unix:/f"
	if got := said(); len(got) != 1 || got[0] != want {
		t.Errorf("tor was told %q, want %q", got, want)
	}
	if err := publish(); err != nil || len(said()) != 0 {
		t.Errorf("published twice: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tor.WaitPublished(ctx, e.Address); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "introduction points") {
		t.Errorf("nothing was uploaded: %v", err)
	}
	id := strings.TrimSuffix(e.Address, onionSuffix)
	for _, d := range []string{"D1", "D2"} {
		f.event <- "650 HS_DESC UPLOAD " + id + " UNKNOWN $A~a " + d + "\r\n"
	}
	for range 2 {
		f.event <- "650 HS_DESC UPLOADED " + id + " UNKNOWN $A~a\r\n"
	}
	if err := tor.WaitPublished(t.Context(), e.Address); err != nil {
		t.Error(err)
	}
	k, err := shelf.AddClient("x", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	if got := said(); len(got) != 2 || got[0] != "DEL_ONION "+id || !strings.Contains(got[1], " Flags=V3Auth,") || !strings.Contains(got[1], " ClientAuthV3="+strings.TrimPrefix(k.auth(), authPrefix)) {
		t.Errorf("tor was told %q", got)
	}
	if s := tor.Services(); len(s) != 1 || s[0].State != StatePublishing {
		t.Errorf("the new descriptor is not out yet: %+v", s)
	}
	if err := tor.Publish(t.Context(), nil); err != nil || len(tor.Services()) != 0 {
		t.Errorf("published still: %+v, %v", tor.Services(), err)
	}
	refusal = "512 Invalid VIRTPORT/TARGET\r\n"
	if err := publish(); err == nil || !strings.Contains(err.Error(), "VIRTPORT") || tor.Services()[0].State != StateFailed {
		t.Errorf("refused: %v, %+v", err, tor.Services())
	}
	refusal = ""
	if err := publish(); err != nil {
		t.Errorf("the next try: %v", err)
	}
	f.event <- "" // the connection ends
	select {
	case <-tor.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("nobody noticed")
	}
	if tor.Err() == nil || tor.WaitPublished(t.Context(), e.Address) == nil {
		t.Errorf("the end is %v", tor.Err())
	}
}

func TestPublishRefusals(t *testing.T) {
	f, said := onionControl(t, func(string) string { return "" })
	tor, shelf := systemTor(t, f), openShelf(t)
	e := mustCreate(t, shelf, "x", nil)
	for want, edit := range map[string]func(*Publication){
		"circuit ids":           func(p *Publication) { p.CircuitID = true },
		"introduction points":   func(p *Publication) { p.IntroPoints = 5 },
		"OnionBalance":          func(p *Publication) { p.Backend = p.Address },
		"another address":       func(p *Publication) { p.Address = "x.onion" },
		"has no port":           func(p *Publication) { p.Targets = nil },
		"blanks":                func(p *Publication) { p.Targets = []Port{{80, "unix:/a b"}} },
		"absolute path":         func(p *Publication) { p.Targets = []Port{{80, "unix:a"}} },
		"it needs a data direc": func(p *Publication) { p.SingleHop = true },
	} {
		all := e.Publications(nil)
		edit(&all[0])
		if err := tor.Publish(t.Context(), all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if got := said(); len(got) != 0 {
		t.Errorf("tor was told %q", got)
	}
	twice := append(e.Publications(nil), e.Publications(nil)...)
	if err := tor.Publish(t.Context(), twice); err == nil || !strings.Contains(err.Error(), "same key") {
		t.Errorf("one key twice: %v", err)
	}

	without := newTor(Options{})
	defer without.Close()
	without.refused = "unix:/run/tor/control: permission denied"
	for _, err := range []error{
		without.Publish(t.Context(), e.Publications(nil)),
		without.Authorize(t.Context(), []ClientKey{clientKey(t)}),
		second(without.Circuits(t.Context())),
	} {
		if !errors.Is(err, ErrNoControl) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "managed") {
			t.Errorf("without a control port: %v", err)
		}
	}
	if err := without.Publish(t.Context(), nil); err != nil {
		t.Errorf("nothing to publish: %v", err)
	}
	without.Close()
	if err := without.Publish(t.Context(), nil); !errors.Is(err, ErrControlClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// recorded is a publisher that refuses as long as it is told to.
type recorded struct {
	refuse bool
	closed []map[string]bool
	last   []Publication
	calls  int
}

func (r *recorded) set(_ context.Context, next []Publication, closed map[string]bool) error {
	r.calls++
	r.closed = append(r.closed, closed)
	if r.refuse {
		return errors.New("refused")
	}
	r.last = next
	return nil
}

func (*recorded) end() {}

// After a refusal nobody knows what Tor publishes: the next call must say all of
// it, also when that is nothing, and close what was to be closed.
func TestAfterRefusal(t *testing.T) {
	f, _ := onionControl(t, func(string) string { return "" })
	tor, shelf, r := systemTor(t, f), openShelf(t), new(recorded)
	tor.publisher = r
	e := mustCreate(t, shelf, "x", nil)
	for _, c := range []string{"alice", "bob"} {
		if _, err := shelf.AddClient("x", c); err != nil {
			t.Fatal(err)
		}
	}
	publish := func(all []Publication) error { return tor.Publish(t.Context(), all) }
	if err := publish(e.Publications(nil)); err != nil {
		t.Fatal(err)
	}
	if err := shelf.RemoveClient("x", "bob"); err != nil {
		t.Fatal(err)
	}
	r.refuse = true
	if err := publish(e.Publications(nil)); err == nil {
		t.Fatal("not refused")
	}
	r.refuse = false
	if err := publish(e.Publications(nil)); err != nil || !r.closed[len(r.closed)-1][e.Address] {
		t.Errorf("bob may come in by the old introduction points: %v, %v", r.closed, err)
	}
	if err := publish(e.Publications(nil)); err != nil || r.calls != 3 {
		t.Errorf("said again: %d calls, %v", r.calls, err)
	}
	if _, err := shelf.AddClient("x", "carol"); err != nil {
		t.Fatal(err)
	}
	r.refuse = true
	if err := publish(e.Publications(nil)); err == nil {
		t.Fatal("not refused")
	}
	r.refuse = false
	if err := publish(nil); err != nil || r.calls != 5 || len(r.last) != 0 {
		t.Errorf("unpublished, tor still has %d services: %v", len(r.last), err)
	}
}

// Tor's answer to a key that it does not like repeats it.
func TestAuthorizeHidesKeys(t *testing.T) {
	f, said := onionControl(t, func(command string) string {
		if strings.HasPrefix(command, "ONION_CLIENT_AUTH_ADD") {
			return "512 Invalid key: " + command + "\r\n"
		}
		return ""
	})
	tor, k := systemTor(t, f), clientKey(t)
	err := tor.Authorize(t.Context(), []ClientKey{k})
	if err == nil || strings.Contains(err.Error(), k.blob()) || !strings.Contains(err.Error(), "512") {
		t.Errorf("got %v", err)
	}
	if got := said(); len(got) != 0 {
		t.Errorf("tor was told %q", got)
	}
}

// A system's Tor keeps nothing of ours, and 252 is a yes.
func TestAuthorizeSystem(t *testing.T) {
	f, said := onionControl(t, func(command string) string {
		if strings.HasPrefix(command, "ONION_CLIENT_AUTH_ADD") {
			return "252 Registered client and decrypted desc\r\n"
		}
		return ""
	})
	tor, k := systemTor(t, f), clientKey(t)
	if err := tor.Authorize(t.Context(), []ClientKey{k}); err != nil {
		t.Fatal(err)
	}
	tor.Close()
	if got := said(); len(got) != 1 || got[0] != "ONION_CLIENT_AUTH_REMOVE "+strings.TrimSuffix(k.Address(), onionSuffix) {
		t.Errorf("tor was told %q", got)
	}
}

func TestServicesChanged(t *testing.T) {
	called := make(chan struct{}, 100)
	tor := newTor(Options{ServicesChanged: func() { called <- struct{}{} }})
	for range 3 {
		tor.uploads.expect(nil, nil)
		select {
		case <-called:
		case <-time.After(5 * time.Second):
			t.Fatal("nobody was told")
		}
	}
	tor.Close()
}

// With services to publish, auto does not look at the system's Tor.
func TestAutoPublish(t *testing.T) {
	_, err := Start(t.Context(), Options{
		Mode: ModeAuto, Publish: true, DataDir: t.TempDir(), Binary: script(t, "echo 'Tor version 0.4.7.16.'"),
		SystemSOCKS: []string{serveScript(t, []step{{3, "\x05\x00"}, {16, "\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00"}})},
	})
	if !is[*VersionError](err) {
		t.Errorf("got %v", err)
	}
}
