package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"xmpp-gw/internal/egress"
	"xmpp-gw/internal/tlsauth"
	"xmpp-gw/policy"
	"xmpp-gw/policy/audit"
)

// what names a probe for the line about it.
func (s spot) what(probe string) string {
	return string(s.service) + " " + s.at.String() + ": " + probe
}

// endpoint looks at one endpoint: first as a client or a server would, and if there
// is somebody, at everything else side by side.
func (r *run) endpoint(ctx context.Context, e *audit.Endpoint) {
	s := spot{at: e.At, service: e.Service, domain: r.target.Domain, dialer: r.Dialer}
	var took time.Duration
	// A circuit may have to be built for it, which the others find ready.
	if why := r.within(ctx, 2*r.Step, s.what("stream"), func(ctx context.Context) (err error) {
		took, err = r.first(ctx, s, e)
		return err
	}); why != "" {
		e.Err = why
	}
	if r.met != nil && e.Service == audit.C2S && !guess(e) {
		r.met <- door{s, r.fit(e)}
	}
	if e.Err != "" {
		return
	}

	var wg sync.WaitGroup
	probe := func(what string, f func(ctx context.Context) error, err *string) {
		wg.Go(func() { *err = r.step(ctx, s.what(what), f) })
	}
	if e.TLS != nil && e.TLS.Err == "" {
		wg.Go(func() { r.versions(ctx, s, e.TLS) })
		if r.Second != nil {
			probe("second circuit", func(ctx context.Context) (err error) {
				e.Witness, err = s.over(r.Second).key(ctx)
				return err
			}, &e.WitnessErr)
		}
	}
	if e.Plain != nil && e.Plain.StartTLS != "" {
		e.Injection = &audit.Injection{}
		probe("injection", func(ctx context.Context) error { return s.inject(ctx, e.Injection, roundTrip(took)/2) }, &e.Injection.Err)
	}
	e.UnknownHost = &audit.Stream{}
	probe("unknown host", func(ctx context.Context) error { return s.unknownHost(ctx, e.UnknownHost) }, &e.UnknownHost.Err)
	if e.At.Transport == policy.STARTTLS || e.At.Transport == policy.DirectTLS {
		// In a WebSocket a part of an element cannot be sent as it is.
		e.Preauth = &audit.Preauth{}
		probe("limits", func(ctx context.Context) error { return s.fill(ctx, e.Preauth) }, &e.Preauth.Err)
		var why string // the field that says whether it was sent is enough
		probe("HTTP", func(ctx context.Context) error {
			return s.http(ctx, roundTrip(took), e)
		}, &why)
	}
	r.idle(ctx, s, e, wg.Wait)
}

// first opens the endpoint as its users do: the stream before TLS, TLS, and the
// stream inside. It gives how long the slowest answer took. An error is an endpoint
// where there is nobody; what else goes wrong has its own place.
func (r *run) first(ctx context.Context, s spot, e *audit.Endpoint) (time.Duration, error) {
	begin := time.Now()
	l, err := s.dial(ctx)
	if err != nil {
		var fail *egress.Error
		if errors.As(err, &fail) {
			e.Code = fail.Code
		}
		return 0, err
	}
	defer l.close()
	took := time.Since(begin)
	begin = time.Now()
	e.Plain, err = l.ready("")
	took = max(took, time.Since(begin))
	switch {
	case err != nil && e.Plain.Err != "":
		return took, err
	case err != nil:
		e.TLS = &audit.TLS{Err: clip(reason(err))}
		if errors.Is(err, errNoSTARTTLS) && e.At.Onion() && e.Service == audit.C2S { // where a login does without
			e.Registration = l.register()
		}
		return took, nil
	}
	if e.At.Transport != policy.PlainWebSocket {
		e.TLS = &audit.TLS{}
		conf := s.config()
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			e.TLS.AsksCert = true
			return new(tls.Certificate), nil
		}
		state, err := l.shake(ctx, conf)
		if err != nil {
			e.TLS.Err = clip(reason(err))
			return took, nil
		}
		r.show(e.TLS, s, state)
	}
	if err := l.web(ctx); err != nil {
		e.Secure = &audit.Stream{Err: clip(reason(err))}
		return took, nil
	}
	begin = time.Now()
	e.Secure = l.open(s.domain)
	took = max(took, time.Since(begin))
	if e.Service == audit.C2S && e.Secure.Err == "" && e.Secure.Error == "" {
		e.Registration = l.register()
	}
	return took, nil
}

// over is the spot by another way out.
func (s spot) over(d egress.Dialer) spot {
	s.dialer = d
	return s
}

// key is the key of the spot's certificate.
func (s spot) key(ctx context.Context) (string, error) {
	state, err := s.handshake(ctx, nil)
	if err != nil {
		return "", err
	}
	return tlsauth.SPKI(state.PeerCertificates[0]), nil
}
