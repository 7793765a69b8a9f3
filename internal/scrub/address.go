package scrub

import "strings"

// onionIDLen is the length of a version 3 onion service's identifier in base32,
// without the ".onion" (rend-spec-v3).
const onionIDLen = 56

// ipv6 hides IPv6 addresses, with the brackets, the zone and the port that
// belong to them, and hands the rest to hosts.
func (show Show) ipv6(dst []byte, s string) []byte {
	if show.Addresses {
		return append(dst, s...)
	}
	for at := 0; ; {
		i := strings.IndexByte(s[at:], ':')
		if i < 0 {
			return hosts(dst, s)
		}
		i += at
		start, end := i, i
		for start > 0 && isV6(s[start-1]) {
			start--
		}
		for end < len(s) && isV6(s[end]) {
			end++
		}
		if !looksV6(s[start:end]) {
			at = end
			continue
		}
		// Punctuation of the sentence around it is not part of it.
		for end > start && (s[end-1] == '.' || s[end-1] == ':' && s[end-2] != ':') {
			end--
		}
		if end < len(s) && s[end] == '%' { // zone, RFC 4007 §11
			for end++; end < len(s) && isHost(s[end]); end++ {
			}
		}
		if start > 0 && s[start-1] == '[' && end < len(s) && s[end] == ']' {
			start--
			end = portEnd(s, end+1)
		}
		dst = hosts(dst, s[:start])
		dst = append(dst, hiddenAddress...)
		s, at = s[end:], 0
	}
}

// isV6 reports whether c can stand in an IPv6 address, one with an IPv4 tail
// included.
func isV6(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' || c == ':' || c == '.'
}

// looksV6 reports whether a run of such bytes may hold an address: it has a "::"
// and a digit, or as many colons as the long form has. A time of day has not.
func looksV6(run string) bool {
	colons := strings.Count(run, ":")
	if strings.Contains(run, "::") && len(strings.Trim(run, ":.")) > 0 {
		return true
	}
	return colons >= 7 || colons == 6 && strings.Contains(run, ".")
}

// hosts hides IPv4 addresses, host and domain names and onion addresses, with
// the port that belongs to them.
func hosts(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if !isHost(s[i]) {
			dst = append(dst, s[i])
			i++
			continue
		}
		end := i
		for end < len(s) && isHost(s[end]) {
			end++
		}
		run := s[i:end]
		name := strings.TrimRight(run, ".-_")
		// What was trimmed is the sentence's, unless a port follows.
		port := portEnd(s, end)
		switch {
		case isOnion(name), isQuad(name), isDomain(name) && !inPath(s[:i]):
			dst = append(dst, hiddenAddress...)
			if port == end {
				dst = append(dst, run[len(name):]...)
			}
			i = port
		case port > end+2 && isSingle(name) && (i == 0 || s[i-1] != ':'):
			dst = append(dst, hiddenAddress...)
			i = port
		default:
			dst = append(dst, run...)
			i = end
		}
	}
	return dst
}

// isHost reports whether c can stand in a host name, U-labels included.
func isHost(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '.' || c == '-' || c == '_' || c >= 0x80
}

// portEnd is where the ":PORT" at s[i] ends; i when there is none.
func portEnd(s string, i int) int {
	if i >= len(s) || s[i] != ':' {
		return i
	}
	end := i + 1
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	if end == i+1 || end > i+6 {
		return i
	}
	return end
}

// isOnion reports whether name holds an onion address or the bare identifier of
// an onion service.
func isOnion(name string) bool {
	for i := 0; ; i++ {
		j := strings.IndexByte(name[i:], '.')
		if j < 0 {
			break
		}
		if i += j; i > 0 && len(name) >= i+6 && strings.EqualFold(name[i:i+6], ".onion") {
			return true
		}
	}
	run := 0
	for i := range len(name) {
		if isLetter(name[i]) || '2' <= name[i] && name[i] <= '7' {
			if run++; run >= onionIDLen {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

// isQuad reports whether name holds a dotted quad. One that begins with a lone 0
// is the version number of Tor, as 0.0.0.0/8 names no other host (RFC 1122
// §3.2.1.3).
func isQuad(name string) bool {
	labels := strings.Split(name, ".")
	if len(labels) == 4 && labels[0] == "0" && allDigits(labels[3]) {
		return false
	}
	for i := 0; i+3 < len(labels); i++ {
		first, last := labels[i], labels[i+3]
		if first != "" && isDigit(first[len(first)-1]) && allDigits(labels[i+1]) &&
			allDigits(labels[i+2]) && last != "" && isDigit(last[0]) {
			return true
		}
	}
	return false
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// isDomain reports whether name has a dot and ends in what can be a top-level
// domain.
func isDomain(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || name[dot-1] == '.' {
		return false
	}
	tld := name[dot+1:]
	if len(tld) < 2 || !isLetter(tld[0]) && tld[0] < 0x80 {
		return false
	}
	return !fileExtension(tld)
}

// isSingle reports whether name, which has a port behind it, can be a host name
// of one label.
func isSingle(name string) bool {
	if name == "" || strings.EqualFold(name, "localhost") {
		return false
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 && fileExtension(name[dot+1:]) {
		return false // config.toml:12
	}
	return !allDigits(strings.NewReplacer("-", "", ".", "", "_", "").Replace(name))
}

// fileExtension reports whether s ends the names of this program's files. None
// of them is a top-level domain.
func fileExtension(s string) bool {
	switch s {
	case "toml", "pem", "sock", "socket", "lock", "service", "json", "txt", "go", "db", "conf", "log", "torrc":
		return true
	}
	return false
}

// inPath reports whether the text behind before goes on a file's path, in which
// a dotted name is a file's.
func inPath(before string) bool {
	start := len(before)
	for start > 0 && !endsToken(before[start-1]) && before[start-1] != '=' {
		start--
	}
	word := before[start:]
	if strings.Contains(word, "://") {
		return false
	}
	for _, p := range []string{"/", "./", "../", "~/", "unix:/"} {
		if strings.HasPrefix(word, p) {
			return true
		}
	}
	return false
}
