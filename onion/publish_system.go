package onion

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"time"
)

// systemPublisher tells a Tor that is not ours. Its files are not ours either, so
// it gets the services over the control port alone (ADD_ONION, control-spec
// §3.27), tied to one connection: however this program ends, they end.
type systemPublisher struct {
	addr string
	conn *controlConn
	have map[string]string // the command that made a service, by address
}

// ManagedOnlyError says that a service wants something that only a Tor of our
// own can do.
type ManagedOnlyError struct {
	Service string
	Setting string
}

func (e *ManagedOnlyError) Error() string {
	return fmt.Sprintf("the onion service %q wants %s, which a system's tor cannot be told over its control port: set tor.mode to \"managed\", or do without", e.Service, e.Setting)
}

// set implements publisher. A service whose settings differ is ended and added
// again, which closes it to those who were let in before as well.
func (s *systemPublisher) set(ctx context.Context, next []Publication, _ map[string]bool) error {
	commands := make(map[string]string)
	for _, p := range next {
		c, err := addOnion(p)
		if err != nil {
			return err
		}
		commands[p.Address] = c
	}
	if s.conn == nil {
		conn, err := dialControl(ctx, s.addr)
		if err != nil {
			return err
		}
		s.conn, s.have = conn, make(map[string]string)
	}
	for address, old := range s.have {
		if commands[address] == old {
			continue
		}
		if err := s.request(ctx, "DEL_ONION "+strings.TrimSuffix(address, onionSuffix)); err != nil {
			return err
		}
		delete(s.have, address)
	}
	for address, command := range commands {
		if s.have[address] == command {
			continue
		}
		if err := s.add(ctx, command); err != nil {
			return err
		}
		s.have[address] = command
	}
	return nil
}

// collision is Tor's answer to an address that it has already.
const collision = 550

// add sends ADD_ONION. The connection of a daemon that was killed a moment ago
// may still hold the address.
func (s *systemPublisher) add(ctx context.Context, command string) error {
	for try := 0; ; try++ {
		err := s.request(ctx, command)
		refused, ok := errors.AsType[*textproto.Error](err)
		switch {
		case !ok:
			return err
		case refused.Code == collision && try < 10:
			time.Sleep(200 * time.Millisecond)
		case refused.Code == collision:
			return errors.New("the system's tor publishes this onion address already, for another program or from its torrc: stop that one first")
		default:
			return fmt.Errorf("the system's tor does not take the onion service: %s", printable(refused.Msg))
		}
	}
}

// request sends a command. A connection that is out of step is given up, and
// with it what was added over it.
func (s *systemPublisher) request(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, requestBudget)
	defer cancel()
	_, broken, err := s.conn.request(ctx, command)
	if broken {
		s.end()
	}
	return err
}

func (s *systemPublisher) end() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// addOnion is the command for one service.
func addOnion(p Publication) (string, error) {
	switch {
	case p.CircuitID:
		return "", &ManagedOnlyError{p.Name, "circuit ids (circuit_id)"}
	case p.IntroPoints != 0:
		return "", &ManagedOnlyError{p.Name, "a number of introduction points"}
	case p.Backend != "":
		return "", &ManagedOnlyError{p.Name, "to stand behind OnionBalance"}
	}
	key, err := ReadKeyFile(join(p.Dir, secretFile))
	if err != nil {
		return "", err
	}
	var flags []string
	if len(p.clients) > 0 {
		flags = append(flags, "V3Auth")
	}
	if p.MaxStreams > 0 {
		flags = append(flags, "MaxStreamsCloseCircuit")
	}
	var b strings.Builder
	b.WriteString("ADD_ONION " + key.blob())
	if len(flags) > 0 {
		b.WriteString(" Flags=" + strings.Join(flags, ","))
	}
	if p.MaxStreams > 0 {
		fmt.Fprintf(&b, " MaxStreams=%d", p.MaxStreams)
	}
	if p.PoW.Enabled {
		b.WriteString(" PoWDefensesEnabled=1")
		if p.PoW.Rate > 0 {
			fmt.Fprintf(&b, " PoWQueueRate=%d", p.PoW.Rate)
		}
		if p.PoW.Burst > 0 {
			fmt.Fprintf(&b, " PoWQueueBurst=%d", p.PoW.Burst)
		}
	}
	for _, port := range p.Targets {
		// ADD_ONION has no quotes.
		if strings.ContainsAny(port.Target, " ,\"") {
			return "", fmt.Errorf("the onion service %q: a system's tor cannot be told a target with blanks, commas or quotes: %s", p.Name, port.Target)
		}
		fmt.Fprintf(&b, " Port=%d,%s", port.Virtual, port.Target)
	}
	for _, c := range p.clients {
		b.WriteString(" ClientAuthV3=" + c)
	}
	return b.String(), nil
}
