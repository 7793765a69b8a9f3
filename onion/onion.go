// Package onion looks after Tor: the process, its way into the network and its
// control port.
//
// [Start] gives a Tor that is ready for connections:
//
//	t, err := onion.Start(ctx, onion.Options{
//		Mode:     onion.ModeAuto,
//		DataDir:  filepath.Join(state, "tor"),
//		Progress: func(p onion.Progress) { fmt.Printf("tor: %d %% %s\n", p.Percent, p.Summary) },
//	})
//	if err != nil {
//		return err // a sentence that says what to do
//	}
//	defer t.Close()
//	dial(t.SOCKS())
//
// It is the system's daemon where one answers, or a child process with a
// private data directory that listens on unix sockets alone and never outlives
// this program. No Tor is linked in: the system's package gets the security
// fixes.
//
// Nothing here restarts a Tor that died: [Tor.Done] tells, and Start works
// again.
//
// Onion services are kept on a [Shelf], a folder that says what is to be
// published, and [Tor.Publish] makes it so:
//
//	shelf, err := onion.OpenShelf(filepath.Join(state, "onions"))
//	entry, err := shelf.Create(onion.Service{Name: "home", Ports: ports}, nil)
//	err = t.Publish(ctx, entry.Publications(nil))
//	err = t.WaitPublished(ctx, entry.Address)
package onion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Mode says which Tor is used. The zero value refuses.
type Mode uint8

// The modes of the configuration's tor.mode. See [Options.Publish] for what
// services make of ModeAuto.
const (
	ModeUnset   Mode = iota
	ModeAuto         // "auto": the system's Tor if one answers, else a child
	ModeManaged      // "managed": a child process of this program
	ModeSystem       // "system": the system's Tor, nothing else
	ModeOff          // "off": none; whoever asks for Tor gets ErrOff
)

// modes holds the configuration's words, by mode.
var modes = [...]string{ModeUnset: "unset", ModeAuto: "auto", ModeManaged: "managed", ModeSystem: "system", ModeOff: "off"}

// String is the configuration's word for m.
func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return modes[ModeUnset]
}

// ParseMode reads the configuration's word.
func ParseMode(s string) (Mode, error) {
	for m := ModeAuto; m <= ModeOff; m++ {
		if s == modes[m] {
			return m, nil
		}
	}
	return ModeUnset, fmt.Errorf("%q is no way to run Tor (auto, managed, system or off)", s)
}

// Options says how Tor is found or run. Mode is required, and DataDir for a
// managed Tor.
type Options struct {
	Mode Mode

	// DataDir is a managed Tor's own directory (guards, keys, cached network
	// documents). It is made, and closed to everybody else.
	DataDir string
	// RuntimeDir is where a managed Tor's sockets go, in a private directory of
	// their own; empty: DataDir. Where a socket's path would be too long for
	// the kernel, a private directory under the system's temporary one is used.
	RuntimeDir string
	// Binary is the tor program; empty: looked for.
	Binary string
	// ExtraTorrc is a file whose lines are given to a managed Tor as well; what
	// the gateway itself sets wins.
	ExtraTorrc string
	// Bridges are the bridges that a managed Tor goes through, and through
	// nothing else (see ParseBridge); none: it connects directly.
	Bridges []string

	// Publish says that onion services will be published: ModeAuto then runs a
	// Tor of our own even where the system's answers, since that one may not let
	// us in and cannot do all that a service may want.
	Publish bool

	// SystemSOCKS and SystemControl are where the system's Tor may listen,
	// "unix:/path" or "host:port", tried in turn; empty: the usual places.
	SystemSOCKS   []string
	SystemControl []string

	// Budget is how long Tor may make no progress while it starts; 0: 4
	// minutes. (It may take longer in all: slow is not stuck.)
	Budget time.Duration
	// Progress is called with each step, one at a time, before Start returns.
	Progress func(Progress)
	// ServicesChanged is called, one at a time, after each change of what
	// Tor.Services tells, by a goroutine of its own; nil: nobody.
	ServicesChanged func()
	// Log gets what Tor says (Tor itself leaves addresses out); nil: nobody.
	Log *slog.Logger

	singleHop bool // the second Tor, for services that are not anonymous
}

// defaultBudget is long enough for a bad mobile connection through a bridge.
const defaultBudget = 4 * time.Minute

// Errors of [Start] that a caller may want to tell apart.
var (
	// ErrOff: the owner switched Tor off.
	ErrOff = errors.New("tor is switched off in the configuration (tor.mode = \"off\"): set it to \"auto\", or give this domain another route")
	// ErrNotInstalled: there is no tor program.
	ErrNotInstalled = errors.New("tor is not installed: install it with \"sudo apt-get install tor\" (or the package \"tor\" of your system) and start again")
	// ErrNoSystemTor: none of the places answered like a Tor.
	ErrNoSystemTor = errors.New("no system Tor answers")
	// ErrInUse: another Tor works in the same data directory.
	ErrInUse = errors.New("another tor is using the same data directory: is xmpp-gw running already?")
)

// VersionError says that a Tor is too old to be trusted with anything.
type VersionError struct {
	Found Version
	Where string // a program's path or a control port's address
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("tor %v (%s) is too old: its series gets no security fixes any more; %v or later is needed (\"sudo apt-get install tor\", or https://support.torproject.org/apt/ for a newer one)", e.Found, e.Where, MinVersion())
}

// Tor is a Tor that was ready when [Start] returned. Its methods are safe for
// concurrent use.
type Tor struct {
	socks   string
	version Version
	control *Control // nil: a system Tor that does not let us in
	refused string   // why it does not
	child   *child   // nil: a system Tor
	options Options

	close  sync.Once
	life   context.Context // over once Close was called
	end    context.CancelFunc
	finish sync.Once
	done   chan struct{} // of a system Tor

	// The slot holds a token while services or keys are changed; what follows it
	// is guarded by it.
	slot      chan struct{}
	publisher publisher
	published []Publication     // what Tor was told
	unsure    bool              // Tor may publish something else: it refused in the middle
	closing   map[string]bool   // addresses that are yet to be closed to former clients
	known     map[string]string // clients' keys that Tor was told, by address

	uploads uploads
	changes *signal // of what Services tells

	mu       sync.Mutex // guards the rest
	lost     error      // why a system Tor is done
	second   *Tor       // for single-hop services; nil: none
	direct   []Publication
	waiting  []ServiceState // of direct, where the second Tor has none to tell
	retrying bool
}

func newTor(o Options) *Tor {
	t := &Tor{
		options: o,
		done:    make(chan struct{}),
		slot:    make(chan struct{}, 1),
		known:   make(map[string]string),
		changes: new(signal),
	}
	t.uploads.changes = t.changes
	t.life, t.end = context.WithCancel(context.Background())
	if o.ServicesChanged != nil {
		go t.changes.tell(t.life, t.changes.next(), o.ServicesChanged)
	}
	return t
}

// Start finds or runs Tor and waits until it can build circuits. ctx bounds the
// start alone. Nothing is left running after an error.
func Start(ctx context.Context, o Options) (*Tor, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Budget == 0 {
		o.Budget = defaultBudget
	}
	switch o.Mode {
	case ModeOff:
		return nil, ErrOff
	case ModeSystem:
		return startSystem(ctx, o)
	case ModeManaged:
		return startManaged(ctx, o)
	case ModeAuto:
		if o.Publish {
			return startManaged(ctx, o)
		}
		t, err := startSystem(ctx, o)
		if err == nil || ctx.Err() != nil {
			return t, err
		}
		o.Log.Debug("no use of the system's tor, running one", "why", err)
		return startManaged(ctx, o)
	}
	return nil, errors.New("no way to run Tor was chosen (tor.mode)")
}

// SOCKS is where connections go: "unix:/path" or "host:port". It never changes.
func (t *Tor) SOCKS() string { return t.socks }

// Version is Tor's version, such as "0.4.9.11"; empty where a system Tor does
// not tell.
func (t *Tor) Version() string { return t.version.String() }

// Managed reports whether this Tor is a child process of ours.
func (t *Tor) Managed() bool { return t.child != nil }

// PID is the child's process id, 0 for a system Tor.
func (t *Tor) PID() int {
	if t.child == nil {
		return 0
	}
	return t.child.pid()
}

// Control is the way to Tor's control port, nil where a system Tor does not let
// us in. It belongs to t, which closes it.
func (t *Tor) Control() *Control { return t.control }

// Done is closed when a managed Tor's process ended, for whatever reason. For a
// system Tor it is closed by Close, and when the connection ended that onion
// services are published over: Start and Publish bring them back.
func (t *Tor) Done() <-chan struct{} {
	if t.child == nil {
		return t.done
	}
	return t.child.done
}

// Err says why Tor ended by itself: nil before Done is closed and after Close.
func (t *Tor) Err() error {
	if t.child == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.lost
	}
	return t.child.cause()
}

// Close stops a managed Tor and removes its sockets; a system Tor loses our
// services and keys and is left alone. It returns once the process is gone.
func (t *Tor) Close() error {
	t.close.Do(func() {
		t.end()
		t.slot <- struct{}{} // whoever has it ends soon
		defer func() { <-t.slot }()
		t.forget()
		if t.child != nil {
			t.child.stop()
		}
		if t.control != nil {
			t.control.Close()
		}
		t.finish.Do(func() { close(t.done) })
	})
	return nil
}

// forgetBudget bounds the farewell to a system's Tor.
const forgetBudget = 2 * time.Second

// forget gives up what Tor was told.
func (t *Tor) forget() {
	t.mu.Lock()
	second := t.second
	t.mu.Unlock()
	if second != nil {
		second.Close()
	}
	if t.publisher != nil {
		t.publisher.end()
	}
	if t.child == nil && t.control != nil {
		ctx, cancel := context.WithTimeout(context.Background(), forgetBudget)
		defer cancel()
		if err := t.authorize(ctx, nil); err != nil {
			t.options.Log.Debug("the system's tor keeps keys of ours", "why", err)
		}
	}
}
