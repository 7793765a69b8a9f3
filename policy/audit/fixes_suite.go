package audit

// What XEP-0479 asks for, as fixes.go has the rest.

const prosodyCore = `modules_enabled = { "disco", "tls", "pep" }
` + prosodyDirect

const ejabberdCore = ejabberdDirect + `
modules:
  mod_disco: {}
  mod_caps: {}
  mod_pubsub:
    plugins: [flat, pep]`

const prosodyWeb = `modules_enabled = { "bosh", "websocket", "http_altconnect" }
-- http_altconnect comes with Prosody 13, before it is of prosody-modules; https://DOMAIN itself must lead to it`

const ejabberdWebSuite = `listen:
  - port: 443
    module: ejabberd_http
    tls: true
    request_handlers:
      /ws: ejabberd_http_ws
      /bosh: mod_bosh
      /.well-known/host-meta: mod_host_meta
      /.well-known/host-meta.json: mod_host_meta
modules:
  mod_bosh: {}
  mod_host_meta:
    websocket_url: "wss://@HOST@/ws"
    bosh_service_url: "https://@HOST@/bosh"`

const prosodyIM = `modules_enabled = { "vcard_legacy", "carbons", "blocklist", "bookmarks", "private", "smacks", "mam" }
Component "rooms.DOMAIN" "muc"
modules_enabled = { "muc_mam" }
Component "upload.DOMAIN" "http_file_share"`

const ejabberdIM = `listen:
  - port: 443
    module: ejabberd_http
    tls: true
    request_handlers:
      /upload: mod_http_upload
modules:
  mod_vcard: {}
  mod_vcard_xupdate: {}
  mod_avatar: {}
  mod_pubsub:
    plugins: [flat, pep]
  mod_carboncopy: {}
  mod_privacy: {}
  mod_blocking: {}
  mod_private: {}
  mod_stream_mgmt: {}
  mod_mam:
    default: always
  mod_muc:
    default_room_options:
      mam: true
  mod_http_upload:
    put_url: "https://@HOST@/upload"`

const prosodyMobile = `modules_enabled = { "smacks", "csi_simple", "cloud_notify" }
-- cloud_notify comes with Prosody 13, before it is of prosody-modules`

const ejabberdMobile = `modules:
  mod_stream_mgmt: {}
  mod_client_state: {}
  mod_push: {}`

const prosodyAV = `modules_enabled = { "turn_external" }  -- Prosody 0.12 or newer
turn_external_host = "turn.DOMAIN"
turn_external_secret = "SECRET"  -- that of the TURN server (coturn: static-auth-secret)`

const ejabberdAV = `listen:
  - port: 3478
    transport: udp
    module: ejabberd_stun
    use_turn: true
    turn_ipv4_address: "192.0.2.1"  # the server's own
modules:
  mod_stun_disco: {}`
