package saslauth

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseOffer(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		want      Offer
		err       error
	}{
		{
			name: "before TLS",
			raw:  "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>",
			want: Offer{StartTLS: true, StartTLSRequired: true},
		},
		{name: "nothing", want: Offer{}},
		{
			name: "Prosody 0.12 under TLS 1.3",
			raw: "<register xmlns='http://jabber.org/features/iq-register'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" +
				"<mechanism>PLAIN</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>",
			want: Offer{Mechanisms: []string{"PLAIN", "SCRAM-SHA-1"}, Register: true},
		},
		{
			name: "XEP-0388 example",
			raw: "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>" +
				"<inline><sm xmlns='urn:xmpp:sm:3'/><bind xmlns='urn:xmpp:bind:0'/></inline></authentication>" +
				"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-server-end-point'/><channel-binding type='tls-exporter'/></sasl-channel-binding>",
			want: Offer{SASL2: []string{"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"}, BindingTypes: []string{"tls-server-end-point", "tls-exporter"}},
		},
		{
			name: "Tigase announces these early",
			raw:  "<sm xmlns='urn:xmpp:sm:3'/><ver xmlns='urn:xmpp:features:rosterver'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>",
			want: Offer{Mechanisms: []string{"PLAIN"}},
		},
		{
			name: "an empty list is a list",
			raw:  "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/>",
			want: Offer{BindingTypes: []string{}},
		},
		{
			name: "other namespaces, other names",
			raw: "<mechanisms xmlns='urn:other'><mechanism>PLAIN</mechanism></mechanisms><starttls/>" +
				"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><hostname xmlns='urn:xmpp:domain-based-name:1'>a.example</hostname><mechanism> SCRAM-SHA-1\n</mechanism></mechanisms>",
			want: Offer{Mechanisms: []string{"SCRAM-SHA-1"}},
		},
		{name: "bind", raw: "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", err: ErrPremature},
		{
			name: "bind beside mechanisms",
			raw:  "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism></mechanisms><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>",
			err:  ErrPremature,
		},
		{name: "session", raw: "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>", err: ErrPremature},
		{name: "bind 2 outside", raw: "<bind xmlns='urn:xmpp:bind:0'/>", err: ErrPremature},
		{
			name: "absurd",
			raw:  "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + strings.Repeat("<mechanism>X</mechanism>", 65) + "</mechanisms>",
			err:  ErrProtocol,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseOffer(node(t, "<stream:features>"+c.raw+"</stream:features>"))
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if c.err == nil && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	for _, raw := range []string{"<features/>", "<stream:error/>", "<message/>"} {
		if _, err := ParseOffer(node(t, raw)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	if _, err := ParseOffer(nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("nil: %v", err)
	}
}
