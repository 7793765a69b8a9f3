package control

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

type fakeAudits struct{ fail error }

var (
	verdict = Verdict{Domain: "example.org", At: started, Route: "tor", Endpoint: "tls://xmpp.example.org:5223", Mode: "report", Grade: "B", Rule: "x",
		Worst: &Finding{ID: "sasl.plus", Severity: "medium", Verdict: "warn", Evidence: "SCRAM-SHA-1"}, Warnings: 1, Objections: []string{"not bound"}}
	health  = TorHealth{SOCKS: "unix:/s", Version: "0.4.9.11", Status: "recommended", Bootstrap: 100, Isolated: true, Open: []string{}, ValidAfter: started, ValidUntil: started.Add(time.Hour)}
	attempt = Attempt{Way: "udp", To: "192.0.2.1:443", Outcome: "stopped", How: "no network path leads there"}
)

func (f fakeAudits) Verdicts() []Verdict                          { return []Verdict{verdict} }
func (f fakeAudits) TorHealth(context.Context) (TorHealth, error) { return health, f.fail }
func (f fakeAudits) Egress(context.Context) ([]Attempt, error)    { return []Attempt{attempt}, f.fail }

// TestAudits: what the daemon knows arrives as it is, and so does an error.
func TestAudits(t *testing.T) {
	c := NewClient(serve(t, fakeDaemon{}, func(peer) bool { return true }))
	defer c.Close()
	if got, err := c.Verdicts(t.Context()); err != nil || !reflect.DeepEqual(got, []Verdict{verdict}) {
		t.Errorf("verdicts: %+v, %v", got, err)
	}
	if got, err := c.TorHealth(t.Context()); err != nil || !reflect.DeepEqual(got, health) {
		t.Errorf("tor: %+v, %v", got, err)
	}
	if got, err := c.Egress(t.Context()); err != nil || !reflect.DeepEqual(got, []Attempt{attempt}) {
		t.Errorf("egress: %+v, %v", got, err)
	}
	broken := NewClient(serve(t, fakeDaemon{fakeAudits: fakeAudits{errors.New("no control port")}}, func(peer) bool { return true }))
	defer broken.Close()
	if _, err := broken.TorHealth(t.Context()); err == nil || !strings.Contains(err.Error(), "no control port") {
		t.Errorf("tor that does not say: %v", err)
	}
}
