package xmppstream

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

// chatMessage is 340 bytes, as a client sends it.
const chatMessage = "<message xmlns='jabber:client' to='juliet@capulet.example/balcony' from='romeo@montague.example/orchard' id='5fbd5c3e-9d32-4d0b' type='chat'>" +
	"<body>Art thou not Romeo? Neither, o fair saint.</body>" +
	"<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='5f'/></message>"

// omemoMessage is 1.35 kB: XEP-0384 with keys for four devices.
var omemoMessage = "<message to='juliet@capulet.example' from='romeo@montague.example/orchard' id='5fbd5c3e-9d32-4d0b-8a0d' type='chat'>" +
	"<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1104826421'>" +
	omemoKey("508235431") + omemoKey("1704826423") + omemoKey("904826425") + omemoKey("2104826427") +
	"<iv>qpOYbSFvzc3Ahlb2</iv></header><payload>" + strings.Repeat("Zm9yIG5ldmVy", 22) + "</payload></encrypted>" +
	"<encryption xmlns='urn:xmpp:eme:0' name='OMEMO' namespace='eu.siacs.conversations.axolotl'/>" +
	"<body>I sent you an OMEMO encrypted message but your client does not support it.</body>" +
	"<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/><store xmlns='urn:xmpp:hints'/></message>"

func omemoKey(rid string) string {
	return "<key rid='" + rid + "'>" + strings.Repeat("MwohBQ8x", 13) + "==</key>"
}

func TestBenchmarkMessagesHaveTheirSizes(t *testing.T) {
	if n := len(chatMessage); n != 340 {
		t.Errorf("chat message has %d bytes", n)
	}
	if n := len(omemoMessage); n < 1300 || n > 1400 {
		t.Errorf("OMEMO message has %d bytes", n)
	}
}

// endless is a stream of the same stanza over and over.
type endless struct {
	header string
	stanza string
	at     int
}

func (s *endless) Read(p []byte) (int, error) {
	if s.header != "" {
		n := copy(p, s.header)
		s.header = s.header[n:]
		return n, nil
	}
	n := 0
	for n < len(p) {
		k := copy(p[n:], s.stanza[s.at:])
		n += k
		if s.at += k; s.at == len(s.stanza) {
			s.at = 0
		}
	}
	return n, nil
}

func benchReader(b *testing.B, stanza string) {
	r := NewReader(&endless{header: clientHeader, stanza: stanza}, SessionLimits())
	if _, err := r.ReadHeader(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(stanza)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchEncodingXML(b *testing.B, stanza string) {
	d := xml.NewDecoder(&endless{header: clientHeader, stanza: stanza})
	token := func() xml.Token {
		tok, err := d.Token()
		if err != nil {
			b.Fatal(err)
		}
		return tok
	}
	for {
		if _, ok := token().(xml.StartElement); ok {
			break
		}
	}
	b.SetBytes(int64(len(stanza)))
	b.ReportAllocs()
	for b.Loop() {
		for depth, tokens := 0, 0; depth > 0 || tokens == 0; tokens++ {
			switch token().(type) {
			case xml.StartElement:
				depth++
			case xml.EndElement:
				depth--
			}
		}
	}
}

func BenchmarkReaderChat(b *testing.B)          { benchReader(b, chatMessage) }
func BenchmarkReaderOMEMO(b *testing.B)         { benchReader(b, omemoMessage) }
func BenchmarkReaderChatBaseline(b *testing.B)  { benchEncodingXML(b, chatMessage) }
func BenchmarkReaderOMEMOBaseline(b *testing.B) { benchEncodingXML(b, omemoMessage) }

// BenchmarkReaderRelay is a stanza's whole way: read, passed to a Writer, flushed before each read.
func BenchmarkReaderRelay(b *testing.B) {
	r := NewReader(&endless{header: clientHeader, stanza: chatMessage}, SessionLimits())
	w := NewWriter(io.Discard)
	r.BeforeRead = w.Flush
	if _, err := r.ReadHeader(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(chatMessage)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := r.Next()
		if err == nil {
			err = w.Element(e)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
