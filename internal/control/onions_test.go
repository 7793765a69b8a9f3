package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

var onion = Onion{
	Name: "node", Address: "x.onion", State: OnionPublished, Uploaded: 5, Uploads: 6,
	Ports:   []OnionPort{{Port: 5222, Target: "127.0.0.1:15222", Error: "nothing listens there"}},
	Clients: []string{"juliet"}, Restricted: true, Proxy: "v2", CircuitID: true, Created: started,
	Previous: []PreviousOnion{{"y.onion", started}},
}

// fakeOnions echoes what it is asked.
type fakeOnions struct{ asked *[]string }

func (f fakeOnions) note(format string, args ...any) {
	if f.asked != nil {
		*f.asked = append(*f.asked, fmt.Sprintf(format, args...))
	}
}

func (f fakeOnions) Onions(context.Context) ([]Onion, error) { return []Onion{onion}, nil }

func (f fakeOnions) Onion(_ context.Context, name string) (Onion, error) {
	if name != onion.Name {
		return Onion{}, &Error{What: "no service " + name, Hint: "look"}
	}
	return onion, nil
}

func (f fakeOnions) Publish(_ context.Context, p Publication) (Onion, error) {
	f.note("publish %s %v %v %v %s", p.Name, p.Ports, *p.PoW, p.CircuitID, p.Key)
	return onion, nil
}

func (f fakeOnions) Unpublish(_ context.Context, name string, forget bool) error {
	f.note("unpublish %s %v", name, forget)
	return nil
}

func (f fakeOnions) Rotate(_ context.Context, name string, overlap time.Duration) (Onion, error) {
	f.note("rotate %s %v", name, overlap)
	return onion, nil
}

func (f fakeOnions) Key(_ context.Context, name string) ([]byte, error) {
	return []byte("key of " + name), nil
}

func (f fakeOnions) AddClient(_ context.Context, name, client string) (OnionClient, error) {
	return OnionClient{client, "x.onion", "secret of " + name}, nil
}

func (f fakeOnions) RemoveClient(_ context.Context, name, client string) error {
	f.note("remove %s %s", name, client)
	return errors.New("no such client")
}

func (f fakeOnions) Open(_ context.Context, name string) error {
	f.note("open %s", name)
	return nil
}

func (f fakeOnions) Auths(context.Context) ([]string, error) { return []string{"z.onion"}, nil }

func (f fakeOnions) AddAuth(_ context.Context, line string) (string, error) {
	f.note("auth %s", line)
	return "z.onion", nil
}

func (f fakeOnions) RemoveAuth(_ context.Context, address string) error {
	f.note("forget %s", address)
	return nil
}

// What the client asks arrives, and what the daemon answers comes back.
func TestOnions(t *testing.T) {
	var asked []string
	c := NewClient(serve(t, fakeDaemon{fakeOnions: fakeOnions{&asked}}, everybody))
	defer c.Close()
	ctx := context.Background()

	if list, err := c.Onions(ctx); err != nil || !reflect.DeepEqual(list, []Onion{onion}) {
		t.Errorf("Onions = %+v, %v", list, err)
	}
	if o, err := c.Onion(ctx, "node"); err != nil || !reflect.DeepEqual(o, onion) {
		t.Errorf("Onion = %+v, %v", o, err)
	}
	_, err := c.Onion(ctx, "a/b?c")
	if e, ok := errors.AsType[*Error](err); !ok || *e != (Error{What: "no service a/b?c", Hint: "look"}) {
		t.Errorf("Onion of a strange name: %v", err)
	}
	yes := true
	if o, err := c.Publish(ctx, Publication{Name: "node", Ports: []OnionPort{{Port: 1, Target: "t"}}, PoW: &yes, Key: []byte("k")}); err != nil || o.Name != "node" {
		t.Errorf("Publish = %+v, %v", o, err)
	}
	if err := errors.Join(c.Unpublish(ctx, "node", false), c.Unpublish(ctx, "node", true), c.Open(ctx, "node")); err != nil {
		t.Error(err)
	}
	if o, err := c.Rotate(ctx, "node", 90*time.Minute); err != nil || o.Name != "node" {
		t.Errorf("Rotate = %+v, %v", o, err)
	}
	if key, err := c.Key(ctx, "node"); err != nil || string(key) != "key of node" {
		t.Errorf("Key = %q, %v", key, err)
	}
	if client, err := c.AddClient(ctx, "node", "juliet"); err != nil || client != (OnionClient{"juliet", "x.onion", "secret of node"}) {
		t.Errorf("AddClient = %+v, %v", client, err)
	}
	err = c.RemoveClient(ctx, "node", "romeo")
	if e, ok := errors.AsType[*Error](err); !ok || e.Why != "no such client" {
		t.Errorf("RemoveClient: %v", err)
	}
	if list, err := c.Auths(ctx); err != nil || len(list) != 1 {
		t.Errorf("Auths = %v, %v", list, err)
	}
	if address, err := c.AddAuth(ctx, "line"); err != nil || address != "z.onion" {
		t.Errorf("AddAuth = %v, %v", address, err)
	}
	if err := c.RemoveAuth(ctx, "z.onion"); err != nil {
		t.Error(err)
	}
	want := []string{
		"publish node [{1 t  0}] true <nil> k", "unpublish node false", "unpublish node true", "open node",
		"rotate node 1h30m0s", "remove node romeo", "auth line", "forget z.onion",
	}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("asked\n %q\nwant\n %q", asked, want)
	}
	if sessions, err := c.Sessions(ctx, true); err != nil || len(sessions[0].Relays) != 2 {
		t.Errorf("Sessions with relays = %+v, %v", sessions, err)
	}
}

// What cannot be read, or asks for what this daemon does not know, is refused.
func TestBadQuestions(t *testing.T) {
	var asked []string
	path := serve(t, fakeDaemon{fakeOnions: fakeOnions{&asked}}, everybody)
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(path) }}}
	defer client.CloseIdleConnections()
	for _, body := range []string{"", "x", `{"name":1}`, `{"name":"node","anonymous":true}`, `{"name":"` + strings.Repeat("x", maxQuestion) + `"}`} {
		resp, err := client.Post("http://xmpp-gw/v1/onions", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "cannot be read") {
			t.Errorf("%.40q: %s %s", body, resp.Status, b)
		}
	}
	// Without a number the old key would be gone.
	for _, body := range []string{`{}`, `{"overlap_seconds":null}`, `{"overlap_seconds":-1}`, `{"overlap_seconds":9223372036854775807}`, `{"overlap_seconds":10000000000}`} {
		resp, err := client.Post("http://xmpp-gw/v1/onions/node/rotate", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(string(b), "overlap_seconds") {
			t.Errorf("%q: %s %s", body, resp.Status, b)
		}
	}
	if len(asked) > 0 {
		t.Errorf("done: %q", asked)
	}
}
