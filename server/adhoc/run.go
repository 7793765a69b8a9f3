package adhoc

import (
	"context"
	"crypto/rand"
	"time"

	"xmpp-gw/internal/address"
	"xmpp-gw/internal/xmppstream"
	"xmpp-gw/server"
	"xmpp-gw/server/dataform"
)

// run is a command that waits for its client's next answer (XEP-0050 §3.3).
type run struct {
	id      string
	command *Command
	session *server.Session
	domain  address.Address
	stages  []*Reply // shown so far; the last one waits for its answer
	until   time.Time
}

// reply is the stage that waits.
func (r *run) reply() *Reply { return r.stages[len(r.stages)-1] }

// The errors of XEP-0050 §4.4.
var (
	errMalformedAction = specific(server.ErrBadRequest, "malformed-action", "There is no such action.")
	errBadAction       = specific(server.ErrBadRequest, "bad-action", "The command has no such action at this stage.")
	errBadSession      = specific(server.ErrBadRequest, "bad-sessionid", "There is no such session of this command.")
	errExpired         = specific(server.ErrNotAllowed, "session-expired", "The command waited too long and has ended; begin it again.")
)

func specific(e *server.StanzaError, condition, text string) *server.StanzaError {
	e = e.Because(text)
	e.App = []byte("<" + condition + " xmlns='" + NS + "'/>")
	return e
}

// BadPayload is the error for a form that is not as it should be.
func BadPayload(text string) *server.StanzaError {
	return specific(server.ErrBadRequest, "bad-payload", text)
}

// command runs one stage of a command (XEP-0050 §2.4).
func (m *Commands) command(ctx context.Context, q *server.IQ) ([]byte, error) {
	if q.Type != "set" {
		return nil, server.ErrBadRequest
	}
	if q.Session == nil {
		return nil, server.ErrForbidden
	}
	node, id := q.Payload.Attr("node"), q.Payload.Attr("sessionid")
	c := m.find(node)
	if c == nil {
		return nil, server.ErrItemNotFound
	}
	// At every stage: what somebody may do can end in between.
	if ok, err := m.may(ctx, c, q.From, q.To); err != nil || !ok {
		if id != "" {
			m.take(id, c, q)
		}
		if err == nil {
			err = server.ErrForbidden
		}
		return nil, err
	}
	action := q.Payload.Attr("action")
	if id == "" {
		return m.start(ctx, c, q, action)
	}
	r, err := m.take(id, c, q)
	if err != nil {
		return nil, err
	}
	answer, keep, err := m.proceed(ctx, r, q, action)
	if keep {
		m.put(r)
	}
	return answer, err
}

// start begins a command.
func (m *Commands) start(ctx context.Context, c *Command, q *server.IQ, action string) ([]byte, error) {
	switch action {
	case "", "execute":
	case "next", "prev", "complete", "cancel":
		return nil, errBadAction
	default:
		return nil, errMalformedAction
	}
	r := &run{id: rand.Text(), command: c, session: q.Session, domain: q.To}
	reply, err := c.Start(ctx, r.call(q, nil))
	if err != nil {
		return nil, err
	}
	r.stages = []*Reply{reply}
	if reply.Next != nil {
		if err := m.room(r); err != nil {
			return nil, err
		}
		m.put(r)
	}
	return r.answer(), nil
}

// proceed takes the answer to a stage. keep is whether the run goes on.
func (m *Commands) proceed(ctx context.Context, r *run, q *server.IQ, action string) (answer []byte, keep bool, err error) {
	now := r.reply()
	switch action {
	case "cancel":
		return r.envelope("canceled", nil), false, nil
	case "prev":
		if len(r.stages) < 2 {
			return nil, true, errBadAction
		}
		r.stages = r.stages[:len(r.stages)-1]
		return r.answer(), true, nil
	case "", "execute":
	case "next":
		if !now.More {
			return nil, true, errBadAction
		}
	case "complete":
		if now.More {
			return nil, true, errBadAction
		}
	default:
		return nil, true, errMalformedAction
	}
	formType := now.FormType
	if formType == "" && now.Form != nil {
		formType = now.Form.FormType
	}
	form, err := dataform.Submitted(q.Payload, formType)
	if err != nil {
		return nil, true, BadPayload("The form is not the one that was asked for.")
	}
	reply, err := now.Next(ctx, r.call(q, form))
	if err != nil {
		return nil, true, err
	}
	if len(r.stages) == maxStages {
		return nil, false, server.ErrResourceConstraint.Because("The command has too many stages.")
	}
	r.stages = append(r.stages, reply)
	return r.answer(), reply.Next != nil, nil
}

func (r *run) call(q *server.IQ, form *dataform.Submission) *Call {
	return &Call{Session: q.Session, Caller: q.From.Bare(), Domain: q.To.Domain, Form: form}
}

// answer is the <command/> that shows the stage.
func (r *run) answer() []byte {
	reply := r.reply()
	var b []byte
	status := "completed"
	if reply.Next != nil {
		status = "executing"
		onward := "complete"
		if reply.More {
			onward = "next"
		}
		b = append(b, "<actions execute='"+onward+"'>"...)
		if len(r.stages) > 1 {
			b = append(b, "<prev/>"...)
		}
		b = append(b, "<"+onward+"/></actions>"...)
	}
	if reply.Note != "" {
		kind := reply.Kind
		if kind == "" {
			kind = "info"
		}
		b = append(b, "<note type='"+kind+"'>"...)
		b = append(xmppstream.Escape(b, reply.Note), "</note>"...)
	}
	if reply.Form != nil {
		b = reply.Form.Append(b)
	}
	return r.envelope(status, append(b, reply.XML...))
}

func (r *run) envelope(status string, children []byte) []byte {
	b := append([]byte("<command xmlns='"+NS+"' status='"+status+"' sessionid='"+r.id+"'"), attr("node", r.command.Node)...)
	b = append(b, '>')
	return append(append(b, children...), "</command>"...)
}

// attr is an attribute.
func attr(name, value string) []byte {
	return append(xmppstream.Escape([]byte(" "+name+"='"), value), '\'')
}

// take takes a run out, so that nobody else goes on with it at the same time.
func (m *Commands) take(id string, c *Command, q *server.IQ) (*run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.runs[id]
	if r == nil || r.command != c || r.session != q.Session || r.domain != q.To {
		return nil, errBadSession
	}
	delete(m.runs, id)
	if !m.server.Now().Before(r.until) {
		return nil, errExpired
	}
	return r, nil
}

func (m *Commands) put(r *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.until = m.server.Now().Add(lifetime)
	m.runs[r.id] = r
}

// room makes room for a run: what is over goes, and the account's oldest.
func (m *Commands) room(r *run) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.server.Now()
	var oldest *run
	own := 0
	for id, one := range m.runs {
		switch {
		case !now.Before(one.until):
			delete(m.runs, id)
		case one.session.Owner() == r.session.Owner():
			if own++; oldest == nil || one.until.Before(oldest.until) {
				oldest = one
			}
		}
	}
	if own >= perAccount {
		delete(m.runs, oldest.id)
	}
	if len(m.runs) >= total {
		return server.ErrResourceConstraint.Because("Too many commands run at the moment; try again later.")
	}
	return nil
}

// forget ends the runs of a session that is gone.
func (m *Commands) forget(s *server.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.runs {
		if r.session == s {
			delete(m.runs, id)
		}
	}
}
