//go:build e2e

package scanners

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// facts are those of a certificate that both scanners tell of.
func facts(c *x509.Certificate) map[string]string {
	names := slices.Clone(c.DNSNames)
	slices.Sort(names)
	f := map[string]string{
		"fingerprint": fmt.Sprintf("%X", sha256.Sum256(c.Raw)),
		"begin":       c.NotBefore.UTC().Format(minute),
		"end":         c.NotAfter.UTC().Format(minute),
		"names":       strings.Join(names, " "),
		"signature":   c.SignatureAlgorithm.String(),
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		f["key"] = fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		f["key"] = fmt.Sprintf("EC %d", k.Curve.Params().BitSize)
	}
	return f
}

// run starts a scanner. Both say with their exit code what they think of the server, so
// that says nothing about whether they ran.
func run(t *testing.T, name, pkg string, args ...string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Errorf("%s is not installed: apt-get install %s", name, pkg)
		return ""
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "TERM=dumb", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("%s took longer than %v: %v\n%s", name, patience, err, out)
	}
	return string(out)
}

// sslscan is Debian's sslscan, which uses OpenSSL with all that it can do.
func sslscan(t *testing.T, dir string, e endpoint) seen {
	file := filepath.Join(dir, "sslscan.xml")
	args := []string{"--ipv4", "--no-colour", "--no-heartbleed", "--no-renegotiation", "--no-compression", "--no-fallback", "--no-groups",
		"--show-cipher-ids", "--show-certificate", "--xml=" + file}
	if e.startTLS {
		args = append(args, "--starttls-xmpp")
	}
	out := run(t, "sslscan", "sslscan", append(args, fmt.Sprintf("%s:%d", domain, e.port))...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("sslscan: %v\n%s", err, out)
		return seen{}
	}
	var doc struct {
		Protocols []struct {
			Type    string `xml:"type,attr"`
			Version string `xml:"version,attr"`
			Enabled bool   `xml:"enabled,attr"`
		} `xml:"ssltest>protocol"`
		Ciphers []struct {
			Version string `xml:"sslversion,attr"`
			ID      string `xml:"id,attr"`
		} `xml:"ssltest>cipher"`
		Certs []struct {
			Type      string `xml:"type,attr"`
			Blob      string `xml:"certificate-blob"`
			Signature string `xml:"signature-algorithm"`
			Key       struct {
				Type string `xml:"type,attr"`
				Bits string `xml:"bits,attr"`
			} `xml:"pk"`
			Names  string `xml:"altnames"`
			Before string `xml:"not-valid-before"`
			After  string `xml:"not-valid-after"`
		} `xml:"ssltest>certificates>certificate"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil {
		t.Errorf("sslscan: %v\n%s", err, text)
		return seen{}
	}
	s := seen{versions: map[string]bool{}, suites: map[string]map[uint16]bool{}, cert: map[string]string{}}
	for _, p := range doc.Protocols {
		if p.Type == "tls" {
			s.versions[p.Version] = p.Enabled
		}
	}
	for _, c := range doc.Ciphers {
		s.accept(t, strings.TrimPrefix(c.Version, "TLSv"), strings.TrimPrefix(c.ID, "0x"))
	}
	for _, c := range doc.Certs {
		switch c.Type {
		case "full":
			if block, _ := pem.Decode([]byte(strings.TrimSpace(c.Blob) + "\n")); block != nil {
				s.cert["fingerprint"] = fmt.Sprintf("%X", sha256.Sum256(block.Bytes))
			}
		case "short":
			s.cert["signature"] = signature(c.Signature)
			s.cert["key"] = c.Key.Type + " " + c.Key.Bits
			if bits, err := strconv.Atoi(c.Key.Bits); err == nil && c.Key.Type == "EC" {
				s.cert["key"] = fmt.Sprintf("EC %d", 2*bits) // it tells the strength, which is half of the curve's size
			}
			s.cert["names"] = list(strings.ReplaceAll(c.Names, "DNS:", ""))
			s.cert["begin"], s.cert["end"] = date(c.Before), date(c.After)
		}
	}
	return s
}

// testssl is Debian's testssl.sh, which speaks TLS by itself, in a shell.
func testssl(t *testing.T, dir string, e endpoint) seen {
	file := filepath.Join(dir, "testssl.json")
	args := []string{"--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1", "--add-ca", filepath.Join(dir, "ca.pem"),
		"--jsonfile", file, "--protocols", "--server-defaults", "--cipher-per-proto"}
	if e.startTLS {
		args = append(args, "--starttls", "xmpp", "--xmpphost", domain)
	}
	out := run(t, "testssl", "testssl.sh", append(args, fmt.Sprintf("%s:%d", domain, e.port))...)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("testssl: %v\n%s", err, out)
		return seen{}
	}
	var findings []struct{ ID, Finding string }
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&findings); err != nil {
		t.Errorf("testssl: %v\n%s\n%s", err, text, out)
		return seen{}
	}
	s := seen{versions: map[string]bool{}, suites: map[string]map[uint16]bool{}, cert: map[string]string{}}
	// testssl counts certificates where there are several; here there is one.
	cipher := regexp.MustCompile(`^cipher-tls1(?:_([0-3]))?_x([0-9a-f]+)$`)
	for _, f := range findings {
		switch {
		case f.ID == "TLS1":
			s.versions["1.0"] = strings.HasPrefix(f.Finding, "offered")
		case strings.HasPrefix(f.ID, "TLS1_"):
			s.versions["1."+strings.TrimPrefix(f.ID, "TLS1_")] = strings.HasPrefix(f.Finding, "offered")
		case f.ID == "cert_fingerprintSHA256":
			s.cert["fingerprint"] = f.Finding
		case f.ID == "cert_signatureAlgorithm":
			s.cert["signature"] = signature(f.Finding)
		case f.ID == "cert_keySize":
			s.cert["key"] = strings.TrimSuffix(f.Finding, " bits")
		case f.ID == "cert_subjectAltName":
			s.cert["names"] = list(f.Finding)
		case f.ID == "cert_notBefore":
			s.cert["begin"] = f.Finding
		case f.ID == "cert_notAfter":
			s.cert["end"] = f.Finding
		case f.ID == "cert_trust":
			s.cert["name"] = strconv.FormatBool(strings.HasPrefix(f.Finding, "Ok via SAN"))
		case f.ID == "cert_chain_of_trust":
			s.cert["trust"] = strconv.FormatBool(strings.Contains(f.Finding, "passed"))
		}
		if m := cipher.FindStringSubmatch(f.ID); m != nil {
			s.accept(t, "1."+cmp.Or(m[1], "0"), m[2])
		}
	}
	return s
}

// accept notes a suite by its number in hexadecimal.
func (s seen) accept(t *testing.T, version, id string) {
	n, err := strconv.ParseUint(id, 16, 16)
	if err != nil {
		t.Errorf("a suite without number: %v", err)
		return
	}
	if s.suites[version] == nil {
		s.suites[version] = map[uint16]bool{}
	}
	s.suites[version][uint16(n)] = true
}

// signature gives OpenSSL's and testssl's names as crypto/x509 writes them.
func signature(name string) string {
	name = strings.TrimSpace(name)
	if known := map[string]string{"ecdsa-with-SHA256": "ECDSA-SHA256", "ECDSA with SHA256": "ECDSA-SHA256"}[name]; known != "" {
		return known
	}
	return name
}

// list is a list of names in order.
func list(names string) string {
	words := strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// date is OpenSSL's way to write a date in ours.
func date(s string) string {
	for _, layout := range []string{"Jan _2 15:04:05 2006 MST", "Jan 2 15:04:05 2006 MST"} {
		if at, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return at.UTC().Format(minute)
		}
	}
	return s
}
