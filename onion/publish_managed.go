package onion

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"path/filepath"
	"strconv"
	"strings"
)

// managedPublisher tells a Tor of ours. It gets the services as HiddenServiceDir
// settings, the only way to all that Tor can do for one; all of them each time,
// since that is how such settings are replaced.
type managedPublisher struct{ t *Tor }

// set implements publisher. Tor reads the folders, clients included, at each
// change of its settings, and looks its services up by key: what stays keeps its
// introduction points.
func (m managedPublisher) set(ctx context.Context, next []Publication, close map[string]bool) error {
	if len(close) > 0 {
		// A service that is left out for a moment loses its introduction points.
		var stay []Publication
		for _, p := range next {
			if !close[p.Address] {
				stay = append(stay, p)
			}
		}
		if err := m.setconf(ctx, stay); err != nil {
			return err
		}
	}
	return m.setconf(ctx, next)
}

func (m managedPublisher) setconf(ctx context.Context, all []Publication) error {
	log := m.t.child.log
	before := log.refused()
	_, err := m.t.control.Request(ctx, setconf(all))
	if refused, ok := errors.AsType[*textproto.Error](err); ok {
		// Tor's answer is "see logs", and we have these.
		why := refused.Msg
		if said := log.complaint(before); said != "" {
			why = said
		}
		return fmt.Errorf("tor does not take the settings of the onion services: %s", printable(why))
	}
	return err
}

func (managedPublisher) end() {}

// setconf is the command that makes these the services.
func setconf(all []Publication) string {
	var b strings.Builder
	b.WriteString("SETCONF")
	set := func(key, val string) {
		b.WriteString(" " + key)
		if val != "" {
			b.WriteString("=" + torQuote(val))
		}
	}
	number := func(key string, n int) {
		if n != 0 {
			set(key, strconv.Itoa(n))
		}
	}
	flag := func(key string, on bool) {
		if on {
			set(key, "1")
		}
	}
	if len(all) == 0 {
		set("HiddenServiceDir", "")
	}
	for _, p := range all {
		set("HiddenServiceDir", p.Dir)
		set("HiddenServiceVersion", "3")
		for _, port := range p.Targets {
			target := port.Target
			if path, ok := strings.CutPrefix(target, "unix:"); ok {
				target = "unix:" + torQuote(path)
			}
			set("HiddenServicePort", fmt.Sprintf("%d %s", port.Virtual, target))
		}
		if p.CircuitID {
			set("HiddenServiceExportCircuitID", "haproxy")
		}
		number("HiddenServiceNumIntroductionPoints", p.IntroPoints)
		number("HiddenServiceMaxStreams", p.MaxStreams)
		flag("HiddenServiceMaxStreamsCloseCircuit", p.MaxStreams != 0)
		flag("HiddenServicePoWDefensesEnabled", p.PoW.Enabled)
		number("HiddenServicePoWQueueRate", p.PoW.Rate)
		number("HiddenServicePoWQueueBurst", p.PoW.Burst)
		flag("HiddenServiceOnionBalanceInstance", p.Backend != "")
	}
	return b.String()
}

func join(dir, file string) string { return filepath.Join(dir, file) }
