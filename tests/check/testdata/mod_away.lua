-- Sends every client elsewhere once it is inside TLS (RFC 6120 §4.9.3.19).
local st = require "util.stanza";

module:hook("stream-features", function (event)
	if event.origin.secure then
		event.origin:close(st.stanza("stream:error"):tag("see-other-host", { xmlns = "urn:ietf:params:xml:ns:xmpp-streams" }):text("xmpp.elsewhere.test:5222"));
	end
end, 1000);
