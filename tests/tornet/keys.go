package tornet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// keys makes the keys of all relays and from them the torrc of each: the lines
// that name the authority have its fingerprints.
func (n *Network) keys(ctx context.Context, dirPort int, orPorts []int) (auth *node, rest []*node, err error) {
	nodes := make([]*node, len(orPorts))
	prints := make([]string, len(orPorts))
	var g errgroup.Group
	for i, port := range orPorts {
		name := fmt.Sprintf("relay%d", i)
		if i == 0 {
			name = "authority"
		}
		r := &node{name: name, dir: filepath.Join(n.dir, name), relay: true}
		nodes[i] = r
		g.Go(func() error {
			var err error
			prints[i], err = n.fingerprint(ctx, r, port)
			return err
		})
	}
	var v3 string
	if v3, err = authorityCert(ctx, filepath.Join(n.dir, "authority", "keys"), dirPort); err != nil {
		return nil, nil, err
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	n.common = fmt.Sprintf(commonTorrc, "authority", orPorts[0], v3, dirPort, prints[0])
	for i, r := range nodes {
		r.torrc = n.common + fmt.Sprintf(relayTorrc, orPorts[i], n.resolv())
	}
	nodes[0].torrc += fmt.Sprintf(authorityTorrc, dirPort, votingOffset(time.Now()))
	return nodes[0], nodes[1:], nil
}

// fingerprint makes a relay's keys and returns the fingerprint of its identity.
func (n *Network) fingerprint(ctx context.Context, r *node, port int) (string, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return "", err
	}
	out, err := output(ctx, "tor", nil, "--list-fingerprint", "--quiet", "-f", n.empty(), "--defaults-torrc", n.empty(),
		"--DataDirectory", r.dir, "--ORPort", fmt.Sprint("127.0.0.1:", port), "--Nickname", r.name,
		"--Address", "127.0.0.1", "--AssumeReachable", "1")
	if err != nil {
		return "", err
	}
	_, print, ok := strings.Cut(strings.TrimSpace(out), " ")
	if print = strings.ReplaceAll(print, " ", ""); !ok || len(print) != 40 {
		return "", fmt.Errorf("tor --list-fingerprint gave no fingerprint but %q", out)
	}
	return print, nil
}

// authorityCert makes the authority's signing keys in dir and returns the
// fingerprint of the long-term one.
func authorityCert(ctx context.Context, dir string, dirPort int) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	cert := filepath.Join(dir, "authority_certificate")
	_, err := output(ctx, "tor-gencert", []byte("loopback\n"), "--create-identity-key", "-m", "12",
		"-a", fmt.Sprint("127.0.0.1:", dirPort), "-i", filepath.Join(dir, "authority_identity_key"),
		"-s", filepath.Join(dir, "authority_signing_key"), "-c", cert, "--passphrase-fd", "0")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if print, ok := strings.CutPrefix(line, "fingerprint "); ok {
			return strings.TrimSpace(print), nil
		}
	}
	return "", fmt.Errorf("tor-gencert made a certificate without a fingerprint")
}

// output runs one of tor's programs.
func output(ctx context.Context, program string, stdin []byte, args ...string) (string, error) {
	path, err := find(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", program, err, out, stderr.Bytes())
	}
	return string(out), nil
}

// votingOffset makes the authority's first vote (every 10 s) fall some four
// seconds after the relays have started and published themselves.
func votingOffset(start time.Time) int64 {
	const interval = 10
	at := start.Add(time.Second - 1).Unix() // rounded up
	return (at + 3 + 4) % interval
}

// commonTorrc is what every node has, clients included: nickname, ORPort and
// long-term fingerprint of the authority, its DirPort and fingerprint. The
// bind address contains the network: a connection beyond loopback fails in the
// kernel.
const commonTorrc = `DirAuthority %s orport=%d no-v2 v3ident=%s 127.0.0.1:%d %s
TestingTorNetwork 1
PathsNeededToBuildCircuits 0.67
OutboundBindAddress 127.0.0.1
ShutdownWaitLength 0
`

// relayTorrc is what the authority and the relays have: ORPort, resolv.conf.
// An exit policy that ended in a reject would also refuse 127.0.0.1.
const relayTorrc = `SocksPort 0
Address 127.0.0.1
ORPort 127.0.0.1:%d
AssumeReachable 1
TestingMinTimeToReportBandwidth 1 day
ServerDNSDetectHijacking 0
ServerDNSTestAddresses
ServerDNSResolvConfFile "%s"
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept 127.0.0.0/8:*
ExitPolicy accept *:*
`

// authorityTorrc is what the authority has: DirPort, offset of the votes. After
// the first consensus it votes every five minutes, as that costs much time.
const authorityTorrc = `DirPort 127.0.0.1:%d
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
TestingV3AuthInitialVotingInterval 10
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 300
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 100
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
AuthDirVoteStableGuaranteeMinUptime 0
AuthDirVoteStableGuaranteeMTBF 0
TestingV3AuthVotingStartOffset %d
`
