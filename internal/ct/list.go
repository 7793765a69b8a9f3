package ct

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	_ "embed" // the list that is built in
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"xmpp-gw/internal/ownfile"
)

// List is a list of logs. The zero value knows none.
type List struct {
	made time.Time
	logs map[[sha256.Size]byte]*log
}

// log is a log whose word counts, or did.
type log struct {
	name, operator string
	key            crypto.PublicKey
	state          string
	since          time.Time // of the state
	from, until    time.Time // when certificates that it takes end; zero: any time
}

// Made is the day of the list, "" for one without.
func (l *List) Made() string {
	if l == nil || l.made.IsZero() {
		return ""
	}
	return l.made.UTC().Format(time.DateOnly)
}

// name is how a person is shown the list.
func (l *List) name() string {
	if day := l.Made(); day != "" {
		return "the list of " + day
	}
	return "the list"
}

// maxList bounds a file; those that are published have about 100 KB.
const maxList = 8 << 20

// ReadList reads a list from a file that nobody else may write.
func ReadList(path string) (*List, error) {
	data, err := ownfile.Read(path, ownfile.NoWriters, maxList)
	if err != nil {
		return nil, err
	}
	l, err := ParseList(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// ParseList reads a list in the public format (log_list.json, version 3), as
// browsers' makers publish it.
func ParseList(data []byte) (*List, error) {
	var file struct {
		Made      time.Time `json:"log_list_timestamp"`
		Operators []struct {
			Name  string    `json:"name"`
			Logs  []logLine `json:"logs"`
			Tiled []logLine `json:"tiled_logs"`
		} `json:"operators"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("this is no list of logs (log_list.json, version 3): %w", err)
	}
	l := &List{made: file.Made, logs: make(map[[sha256.Size]byte]*log)}
	for _, o := range file.Operators {
		for _, line := range append(o.Logs, o.Tiled...) {
			e, err := line.entry(o.Name)
			if err != nil {
				return nil, fmt.Errorf("log %.80q: %w", line.Name, err)
			}
			if e != nil {
				l.logs[sha256.Sum256(line.Key)] = e
			}
		}
	}
	if len(l.logs) == 0 {
		return nil, errors.New("there is no log in it (want log_list.json, version 3)")
	}
	return l, nil
}

// logLine is a log in the file.
type logLine struct {
	Name  string `json:"description"`
	ID    []byte `json:"log_id"`
	Key   []byte `json:"key"`
	State map[string]struct {
		Since time.Time `json:"timestamp"`
	} `json:"state"`
	Interval *struct {
		From  time.Time `json:"start_inclusive"`
		Until time.Time `json:"end_exclusive"`
	} `json:"temporal_interval"`
}

// entry is nil for a log whose word never counted: one that waits to be looked
// at, or is for tests.
func (l logLine) entry(operator string) (*log, error) {
	e := &log{name: l.Name, operator: operator}
	if len(l.State) > 1 {
		return nil, errors.New("it has more than one state")
	}
	for state, s := range l.State {
		e.state, e.since = state, s.Since
	}
	switch e.state {
	case stateQualified, stateUsable, stateReadonly, stateRetired, stateRejected:
	default:
		return nil, nil
	}
	if e.name == "" || e.operator == "" {
		return nil, errors.New("it has no description, or no operator")
	}
	// RFC 6962 §3.2: the log's number is the hash of its key.
	if sum := sha256.Sum256(l.Key); !bytes.Equal(l.ID, sum[:]) {
		return nil, errors.New("its log_id does not fit its key")
	}
	key, err := x509.ParsePKIXPublicKey(l.Key)
	if err != nil {
		return nil, errors.New("its key cannot be read")
	}
	if e.key, err = usable(key); err != nil {
		return nil, err
	}
	if l.Interval != nil {
		e.from, e.until = l.Interval.From, l.Interval.Until
	}
	return e, nil
}

// The states of a log.
const (
	stateQualified = "qualified"
	stateUsable    = "usable"
	stateReadonly  = "readonly"
	stateRetired   = "retired"
	stateRejected  = "rejected"
)

// usable holds a log's key to RFC 6962 §2.1.4: P-256, or RSA of 2048 bits or more.
func usable(key crypto.PublicKey) (crypto.PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return k, nil
		}
	case *rsa.PublicKey:
		if k.N.BitLen() >= 2048 {
			return k, nil
		}
	}
	return nil, errors.New("its key is of a kind that logs do not have")
}

//go:embed logs.json
var logsJSON []byte

// builtIn reads the list once. A test holds that it can be read.
var builtIn = sync.OnceValue(func() *List {
	l, err := ParseList(logsJSON)
	if err != nil {
		return new(List)
	}
	return l
})

// BuiltIn is the list that this program was made with. Its file says where it is
// from; scripts/ct-logs makes it anew.
func BuiltIn() *List { return builtIn() }
