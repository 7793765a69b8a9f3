package main

import (
	"errors"
	"io/fs"
	"strings"

	"xmpp-gw/internal/control"
)

// explain turns any error into one for a person.
func explain(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return &problem{what: e.What, why: e.Why, hint: e.Hint}
	}
	if e, ok := errors.AsType[*control.RunningError](err); ok {
		return &problem{
			what: "xmpp-gw is running already",
			why:  e.Error(),
			hint: "`xmpp-gw status` shows it; --state-dir DIR makes room for a second one",
		}
	}
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return &problem{
			what: "no xmpp-gw is running",
			why:  strings.TrimPrefix(err.Error(), control.ErrNotRunning.Error()+": "),
			hint: "start it with `xmpp-gw run`; one with its own --state-dir is asked with the same --state-dir",
		}
	case errors.Is(err, fs.ErrPermission):
		return &problem{
			what: "permission denied",
			why:  err.Error(),
			hint: "run the command as the user that owns it, for example with sudo -u",
		}
	}
	return &problem{what: err.Error()}
}
