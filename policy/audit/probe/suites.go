package probe

import "fmt"

// suite is a cipher suite by its IANA name.
type suite struct {
	id   uint16
	name string
}

// class is a kind of suites that stand or fall together: one of them tells of all.
type class struct {
	name   string
	suites []suite
}

// classes are what is tried with versions before 1.3, the worst first. TLS 1.3 has
// only suites that are good.
var classes = [...]class{
	{"no encryption or none worth the name", []suite{
		{0x0001, "TLS_RSA_WITH_NULL_MD5"}, {0x0002, "TLS_RSA_WITH_NULL_SHA"}, {0x003B, "TLS_RSA_WITH_NULL_SHA256"},
		{0xC006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA"}, {0xC010, "TLS_ECDHE_RSA_WITH_NULL_SHA"},
		{0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"}, {0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5"}, {0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA"},
		{0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA"}, {0x0009, "TLS_RSA_WITH_DES_CBC_SHA"}, {0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"},
	}},
	{"no authentication", []suite{
		{0x0018, "TLS_DH_anon_WITH_RC4_128_MD5"}, {0x001B, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA"}, {0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"},
		{0x003A, "TLS_DH_anon_WITH_AES_256_CBC_SHA"}, {0x006C, "TLS_DH_anon_WITH_AES_128_CBC_SHA256"}, {0x00A6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"},
		{0x00A7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384"}, {0xC018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"}, {0xC019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA"},
	}},
	{"RC4", []suite{
		{0x0004, "TLS_RSA_WITH_RC4_128_MD5"}, {0x0005, "TLS_RSA_WITH_RC4_128_SHA"},
		{0xC007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"}, {0xC011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"},
	}},
	{"3DES", []suite{
		{0x000A, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"}, {0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"},
		{0xC008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"}, {0xC012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"},
	}},
	{"no forward secrecy", []suite{
		{0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256"}, {0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384"}, {0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA"},
		{0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"}, {0x003C, "TLS_RSA_WITH_AES_128_CBC_SHA256"}, {0x003D, "TLS_RSA_WITH_AES_256_CBC_SHA256"},
		{0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"}, {0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"},
	}},
	{"CBC", []suite{
		{0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}, {0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"},
		{0xC013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"}, {0xC014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"},
		{0xC023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"}, {0xC024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"},
		{0xC027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"}, {0xC028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"},
		{0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"}, {0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"},
		{0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"}, {0x006B, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"},
	}},
	{"forward secrecy and authenticated encryption", []suite{
		{0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, {0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
		{0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, {0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
		{0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"}, {0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
		{0x009E, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"}, {0x009F, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"},
		{0xCCAA, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
	}},
}

// ids are the suites of a class as they go into a ClientHello.
func (c class) ids() []uint16 {
	out := make([]uint16, len(c.suites))
	for i, s := range c.suites {
		out[i] = s.id
	}
	return out
}

// every is all suites of all classes, the best first: that is how a good client
// asks.
func every() []uint16 {
	var out []uint16
	for i := len(classes) - 1; i >= 0; i-- {
		out = append(out, classes[i].ids()...)
	}
	return out
}

// suiteName is the IANA name of a suite.
func suiteName(id uint16) string {
	for _, c := range classes {
		for _, s := range c.suites {
			if s.id == id {
				return s.name
			}
		}
	}
	return fmt.Sprintf("0x%04X", id)
}
