package audit

// What to change in Prosody and in ejabberd, as it goes into their configuration:
// Lua and YAML that are whole. tests/check puts each into a real server and sees that
// its finding is gone, so what is printed here is what was tried; what Debian 12's
// versions do not have yet stands in a table there, with its source.
//
// Modules of Prosody come to those that are there; an entry of ejabberd's listen goes
// into that of the same port and module. DOMAIN becomes that of the target. A line
// that begins with "-- run:" is a command. What goes into DNS begins with "zone:", a
// line of a zone file each.

const prosodyEncrypt = `c2s_require_encryption = true
s2s_require_encryption = true`

const ejabberdEncrypt = `s2s_use_starttls: required
listen:
  - port: 5222
    module: ejabberd_c2s
    starttls_required: true`

const prosodySTARTTLS = `modules_enabled = { "tls" }
-- and a certificate that Prosody can read: prosodyctl check certs`

const ejabberdSTARTTLS = ejabberdEncrypt + `
# and certfiles, with certificate and key of DOMAIN`

const prosodyVersions = `tls_profile = "intermediate"  -- Prosody 0.12 or newer
ssl = { }  -- no protocol, ciphers or options; nor in c2s_ssl, s2s_ssl, https_ssl`

const ejabberdVersions = `c2s_protocol_options: [no_sslv3, no_tlsv1, no_tlsv1_1]
s2s_protocol_options: [no_sslv3, no_tlsv1, no_tlsv1_1]
# an entry of listen with protocol_options of its own needs the same`

const ejabberdCiphers = `c2s_ciphers: "ECDHE+AESGCM:ECDHE+CHACHA20"
s2s_ciphers: "ECDHE+AESGCM:ECDHE+CHACHA20"
# an entry of listen with ciphers of its own needs the same`

const ejabberdWeb = `listen:
  - port: %d
    module: ejabberd_http
    protocol_options: [no_sslv3, no_tlsv1, no_tlsv1_1]
    ciphers: "ECDHE+AESGCM:ECDHE+CHACHA20"`

const prosodyCertificate = `certificates = "certs"
-- run: prosodyctl --root cert import /etc/letsencrypt/live
-- each time it is renewed: as a deploy hook of the ACME client`

const ejabberdCertificate = `certfiles:
  - /etc/letsencrypt/live/DOMAIN/fullchain.pem
  - /etc/letsencrypt/live/DOMAIN/privkey.pem
# each time it is renewed: ejabberdctl reload_config`

const prosodyName = `-- the certificate must name the domain of the accounts, not the host: certbot certonly -d DOMAIN
` + prosodyCertificate

const ejabberdName = `# the certificate must name the domain of the accounts, not the host: certbot certonly -d DOMAIN
` + ejabberdCertificate

const prosodyPreTLS = `c2s_require_encryption = true
allow_unencrypted_plain_auth = false`

const ejabberdPreTLS = `listen:
  - port: 5222
    module: ejabberd_c2s
    starttls_required: true`

const prosodyOutdated = `disable_sasl_mechanisms = { "DIGEST-MD5", "CRAM-MD5", "LOGIN", "X-OAUTH2" }`

const ejabberdOutdated = `disable_sasl_mechanisms: [DIGEST-MD5, CRAM-MD5, LOGIN, X-OAUTH2]`

const prosodySCRAM = `authentication = "internal_hashed"
password_hash = "SHA-256"  -- Prosody 0.12 or newer; who has a password kept as SHA-1 must set it again
disable_sasl_mechanisms = { "DIGEST-MD5", "CRAM-MD5", "LOGIN", "X-OAUTH2" }`

const ejabberdSCRAM = `auth_password_format: scram
auth_scram_hash: sha256  # who has a password kept as SHA-1 must set it again
# ejabberd 25.03 can keep both meanwhile: auth_stored_password_types: [scram_sha1, scram_sha256]
disable_sasl_mechanisms: [DIGEST-MD5, CRAM-MD5, LOGIN, X-OAUTH2]`

const prosodyPlus = `-- nothing to set: Prosody offers -PLUS with what its LuaSec can bind, where it ends TLS itself.
-- Since version 13 it binds TLS 1.3 too, and says how (XEP-0440): update both`

const ejabberdPlus = `# nothing to set: ejabberd 24.02 or newer offers -PLUS, and says how it binds (XEP-0440), where it ends TLS itself`

const prosodyDowngrade = `modules_enabled = { "sasl_ssdp" }
-- of prosody-modules: prosodyctl install --server=https://modules.prosody.im/rocks/ mod_sasl_ssdp`

const ejabberdDowngrade = `# nothing to set: ejabberd 24.02 or newer has it, unless disable_sasl_scram_downgrade_protection is true`

const prosodySASL2 = `modules_enabled = { "sasl2", "sasl2_bind2" }
-- of prosody-modules, for Prosody 13: prosodyctl install --server=https://modules.prosody.im/rocks/ mod_sasl2_bind2`

const ejabberdSASL2 = `# nothing to set: ejabberd 24.02 or newer has it`

const prosodyFAST = `modules_enabled = { "sasl2_fast" }
-- of prosody-modules, for Prosody 13: prosodyctl install --server=https://modules.prosody.im/rocks/ mod_sasl2_fast`

const ejabberdFAST = `modules:
  mod_auth_fast: {}  # ejabberd 24.12 or newer`

const prosodyRegister = `allow_registration = false
modules_disabled = { "register_ibr" }  -- with "register" alone, people can still change their password
-- or by invitation: modules_enabled = { "invites", "invites_register" }, and registration_invite_only = true`

const ejabberdRegister = `modules:
  mod_register:
    access: none
    # or captcha_protected: true, with captcha_cmd and captcha_url`

const prosodyDialback = `s2s_secure_auth = true
s2s_ssl = { }  -- no verify in it, nor in ssl: by itself Prosody asks for certificates`

const ejabberdDialback = `s2s_use_starttls: required  # ejabberd asks for certificates wherever there is TLS`

const prosodyHTTP = `modules_disabled = { "net_multiplex" }
c2s_ports = { 5222 }`

const ejabberdHTTP = `# no entry of listen for ejabberd_http may have the port of one for ejabberd_c2s; see also the proxy in front`

const prosodyPreauth = `c2s_unauthed_stanza_size_limit = 10000  -- with the security updates of May 2026
s2s_unauthed_stanza_size_limit = 10000
c2s_stanza_size_limit = 262144  -- before those, these hold for strangers too
s2s_stanza_size_limit = 524288
c2s_timeout = 60`

const ejabberdPreauth = `negotiation_timeout: 30
listen:
  - port: 5222
    module: ejabberd_c2s
    max_stanza_size: 262144
  - port: 5269
    module: ejabberd_s2s_in
    max_stanza_size: 524288`

// ejabberdPreauthAt is the same for one port: an entry that is not there yet would
// open another.
const ejabberdPreauthAt = `negotiation_timeout: 30
listen:
  - port: %d
    module: %s
    max_stanza_size: %d`

const prosodyLimits = `-- nothing to set: Prosody 13 or newer tells them`

const ejabberdLimits = `# nothing to set: ejabberd does not tell them yet (26.07)`

const prosodyVersion = `modules_disabled = { "version" }`

const ejabberdVersion = `# take mod_version out of modules; show_os: false leaves ejabberd's own version`

const prosodyContact = `modules_enabled = { "server_contact_info" }
contact_info = { abuse = { "mailto:abuse@DOMAIN" }, security = { "mailto:security@DOMAIN" } }`

const ejabberdContact = `modules:
  mod_disco:
    server_info:
      - modules: all
        name: abuse-addresses
        urls: ["mailto:abuse@DOMAIN"]
      - modules: all
        name: security-addresses
        urls: ["mailto:security@DOMAIN"]`

const prosodyDirect = `c2s_direct_tls_ports = { 5223 }  -- Prosody 0.12 or newer`

const prosodyDirectServers = `s2s_direct_tls_ports = { 5270 }  -- Prosody 0.12 or newer`

const ejabberdDirect = `listen:
  - port: 5223
    module: ejabberd_c2s
    tls: true
    max_stanza_size: 262144`

const ejabberdDirectServers = `listen:
  - port: 5270
    module: ejabberd_s2s_in
    tls: true
    max_stanza_size: 524288`

const prosodyHostMeta = `modules_enabled = { "websocket", "http_altconnect" }
-- http_altconnect comes with Prosody 13, before it is of prosody-modules; https://DOMAIN itself must lead to it`

const ejabberdHostMeta = `listen:
  - port: 443
    module: ejabberd_http
    tls: true
    request_handlers:
      /ws: ejabberd_http_ws
      /.well-known/host-meta: mod_host_meta
      /.well-known/host-meta.json: mod_host_meta
modules:
  mod_host_meta:
    websocket_url: "wss://@HOST@/ws"`

const prosodyReach = `interfaces = { "127.0.0.1" }
-- and in torrc: HiddenServicePort 5222 127.0.0.1:5222`

const ejabberdReach = `listen:
  - port: 5222
    module: ejabberd_c2s
    ip: "127.0.0.1"
# and in torrc: HiddenServicePort 5222 127.0.0.1:5222`

const prosodyDeanon = `-- a Prosody of its own, or at least VirtualHost "ADDRESS.onion" with a certificate for that name alone,
-- and http_file_share_base_url and turn_external_host, where they are set, at that address`

const ejabberdDeanon = `# an ejabberd of its own, or at least a host "ADDRESS.onion" in hosts with a certificate for that name alone,
# and put_url of mod_http_upload and services of mod_stun_disco, where they are set, at that address`
