package daemon_test

import (
	"context"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"xmpp-gw/tests/daemon"
)

func TestDaemon(t *testing.T) {
	d := daemon.Run(t, daemon.Options{Config: "[default]\nroute = \"block\"\n"})
	if _, err := os.Stat(d.CA); err != nil {
		t.Error(err)
	}
	if r := d.Report(t); r.Status.State != "ready" || r.Status.PID != d.PID() || len(r.Sessions) > 0 {
		t.Errorf("status is %+v", r)
	}
	before, err := d.Usage(t.Context())
	if err != nil || before.Descriptors < 5 || before.Threads < 2 || before.Goroutines < 5 || before.Resident < 1000 {
		t.Errorf("usage is %+v, %v", before, err)
	}
	for _, addr := range []string{d.C2S, d.C2STLS} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if during, err := d.Usage(t.Context()); err != nil || during.Descriptors <= before.Descriptors {
			t.Errorf("a connection is not in the usage: %+v, %v", during, err)
		}
		c.Close()
	}
	d.Settle(t, before)

	if err := d.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	select {
	case <-d.Ended():
		if d.ExitCode() != 0 {
			t.Errorf("exit code %d", d.ExitCode())
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not stop")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.Dir); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
}

// What does not start says why.
func TestMistake(t *testing.T) {
	d, err := daemon.Start(t.Context(), daemon.Options{Config: "[default]\nroute = \"nowhere\"\n"})
	if err == nil {
		d.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), `"nowhere"`) || !strings.Contains(err.Error(), "exit status 3") {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cmd, err := daemon.Command(ctx, "version")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "xmpp-gw ") {
		t.Errorf("%q, %v", out, err)
	}
}
