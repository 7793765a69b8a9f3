package onion

import (
	"context"
	"errors"
)

// Publication is one address that a Tor shall publish. [Entry.Publications]
// makes it.
type Publication struct {
	Service
	Address string // with ".onion"; differs from the service's for a former one
	Dir     string // the HiddenServiceDir, with key and clients
	Targets []Port // what Tor connects to
}

// State says how far an onion service is.
type State string

// The states of an onion service.
const (
	StatePublishing State = "publishing" // its descriptor is on the way to the directories
	StatePublished  State = "published"  // all directories that were asked have answered
	StateFailed     State = "failed"     // none took it; Tor tries again
)

// ServiceState is an address that a Tor publishes.
type ServiceState struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	State    State  `json:"state"`
	Uploaded int    `json:"uploaded"` // directories that have the descriptor
	Uploads  int    `json:"uploads"`  // directories that it was sent to
	Error    string `json:"error,omitempty"`
}

// Publish makes exactly these services published: others that it was given
// before end. It returns once Tor has taken the settings; [Tor.Services] and
// [Tor.WaitPublished] tell how far the descriptors are. To publish what is
// published does nothing.
func (t *Tor) Publish(ctx context.Context, all []Publication) error {
	return errors.ErrUnsupported
}

// Services tells how far each published address is, by name and address.
func (t *Tor) Services() []ServiceState { return nil }

// WaitPublished waits until an address is published, or ctx is over.
func (t *Tor) WaitPublished(ctx context.Context, address string) error {
	return errors.ErrUnsupported
}

// Authorize makes exactly these keys known to Tor, for onion services that let
// in known clients only.
func (t *Tor) Authorize(ctx context.Context, keys []ClientKey) error {
	return errors.ErrUnsupported
}
