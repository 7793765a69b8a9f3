"""A slixmpp client that tests drive over its standard streams.

The first line of standard input is a JSON object: how to log in. Each later
line is a command. Each line of standard output is a JSON object: what
happened. The end of standard input ends the session.

    login     {"jid", "password", "host", "port", "tls": "starttls|direct|none",
               "ca": PEM file or "", "socks": "host:port", "unix:path" or "", "register": bool,
               "mechanism": the only one to use, or "", "resume": bool,
               "mended": bool}
    commands  {"do": "send", "to", "body"}, and those with an answer, do_… below
    events    online, message, registered, resumed, error, failed, offline,
              carbon, published, and the answers
"""
import asyncio
import json
import socket
import ssl
import sys
from xml.etree import ElementTree

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout


def tell(event, **facts):
    print(json.dumps({"event": event, **facts}), flush=True)


async def socks_connect(proxy, host, port):
    """Open host:port through a SOCKS5 proxy, the name left to the proxy (RFC 1928)."""
    loop = asyncio.get_running_loop()
    if proxy.startswith("unix:"):
        family, where = socket.AF_UNIX, proxy.removeprefix("unix:")
    else:
        phost, pport = proxy.rsplit(":", 1)
        family, where = socket.AF_INET, (phost, int(pport))
    sock = socket.socket(family)
    sock.setblocking(False)
    await loop.sock_connect(sock, where)

    async def read(count):
        got = b""
        while len(got) < count:
            more = await loop.sock_recv(sock, count - len(got))
            if not more:
                raise OSError("the SOCKS proxy closed the connection")
            got += more
        return got

    await loop.sock_sendall(sock, b"\x05\x01\x00")
    if await read(2) != b"\x05\x00":
        raise OSError("the SOCKS proxy wants authentication")
    name = host.encode()
    await loop.sock_sendall(
        sock, b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    _, code, _, kind = await read(4)
    if code != 0:
        raise OSError("the SOCKS proxy answered with code 0x%02X" % code)
    length = {1: 4, 4: 16}.get(kind)
    if length is None:
        length = (await read(1))[0]
    await read(length + 2)
    return sock


class Client(slixmpp.ClientXMPP):
    def __init__(self, login):
        super().__init__(login["jid"], login["password"])
        self.login = login
        self.is_online = False
        self.plus_failed = False
        self.over = asyncio.get_event_loop().create_future()
        for plugin in ("xep_0030", "xep_0054", "xep_0060", "xep_0084", "xep_0115", "xep_0163",
                       "xep_0191", "xep_0199", "xep_0280", "xep_0313"):
            self.register_plugin(plugin)
        if login["register"]:
            self.register_plugin("xep_0077")
        if login["resume"]:
            self.register_plugin("xep_0198")
        if login["mechanism"]:
            self["feature_mechanisms"].use_mech = login["mechanism"]
        if login["mended"]:
            self["feature_mechanisms"].sasl_callback = self.without_binding
        if login["ca"]:
            self.ca_certs = login["ca"]
        for event, handler in {
            "session_start": lambda _: self.send_presence(),
            "presence_available": self.on_presence,
            "message": self.on_message,
            "message_error": lambda message: self.tell_error("message", message),
            "carbon_received": lambda message: self.on_carbon(message["carbon_received"]),
            "carbon_sent": lambda message: self.on_carbon(message["carbon_sent"]),
            "pubsub_publish": self.on_published,
            "register": self.on_register,
            "session_resumed": lambda _: tell("resumed"),
            "failed_auth": self.on_failed_auth,
            "failed_all_auth": lambda _: self.fail("authentication", "all mechanisms failed"),
            "stream_error": self.on_stream_error,
            "connection_failed": lambda why: self.fail("connection", str(why)),
            "ssl_invalid_chain": lambda why: self.fail("certificate", str(why)),
            "disconnected": self.on_disconnected,
        }.items():
            self.add_event_handler(event, handler)

    def send(self, data, use_filters=True):
        # slixmpp 1.8 holds every IQ but those of bind back until the session
        # has begun; a registration comes before that.
        if isinstance(data, slixmpp.Iq) and data.get_plugin("register", check=True):
            self.waiting_queue.put_nowait((data, use_filters))
        else:
            super().send(data, use_filters)

    # The two places where slixmpp would open a connection of its own choice.

    async def _pick_dns_answer(self, domain, service=None):
        return None

    async def _connect_routine(self):
        login = self.login
        self.event_when_connected = "connected"
        direct = login["tls"] == "direct"
        try:
            if login["socks"]:
                where = {"sock": await socks_connect(login["socks"], login["host"], login["port"])}
            else:
                where = {"host": login["host"], "port": login["port"]}
            context = None
            if direct:
                context = self.get_ssl_context()
                context.set_alpn_protocols(["xmpp-client"])
            await self.loop.create_connection(
                lambda: self, ssl=context,
                server_hostname=self.boundjid.host if direct else None, **where)
        except ssl.SSLError as why:
            self.fail("certificate", str(why))
        except OSError as why:
            self.fail("connection", str(why))

    def start(self):
        mode = self.login["tls"]
        self.connect((self.login["host"], self.login["port"]), use_ssl=mode == "direct",
                     force_starttls=mode == "starttls", disable_starttls=mode != "starttls")
        # connect() takes a host that is a name for the name to verify.
        self.default_domain = self.boundjid.host

    # What happens.

    def on_presence(self, presence):
        # The server sends our own presence back to us (RFC 6121 §4.2.2). Only
        # then is a message to the bare JID sure to come here.
        if presence["from"] != self.boundjid or self.is_online:
            return
        self.is_online = True
        tls = self.transport.get_extra_info("ssl_object") if self.transport else None
        tell("online", jid=str(self.boundjid), mechanism=self["feature_mechanisms"].mech.name,
             tls=tls.version() if tls else "")

    def on_message(self, message):
        if message["type"] != "error" and message["body"]:
            tell("message", **{"from": str(message["from"].bare), "id": message["id"],
                               "body": message["body"]})

    @staticmethod
    def on_carbon(message):
        tell("carbon", **{"from": str(message["from"].bare), "body": message["body"]})

    @staticmethod
    def on_published(message):
        tell("published", **{"from": str(message["from"].bare),
                             "node": message["pubsub_event"]["items"]["node"]})

    @staticmethod
    def tell_error(what, stanza):
        tell("error", what=what, condition=stanza["error"]["condition"],
             text=stanza["error"]["text"])

    async def on_register(self, _):
        iq = self.Iq()
        iq["type"] = "set"
        iq["register"]["username"] = self.boundjid.user
        iq["register"]["password"] = self.password
        try:
            await iq.send(timeout=30)
            tell("registered")
        except IqError as error:
            self.fail("registration", error.iq["error"]["text"], error.iq["error"]["condition"])
        except IqTimeout:
            self.fail("registration", "no answer")

    def without_binding(self, required, optional):
        # slixmpp 1.8 binds to tls-unique in TLS 1.3 too, where there is no such thing
        # (RFC 9266 §3); ejabberd takes that. Elsewhere -PLUS fails, and then slixmpp
        # tells the server that it offers no binding, which looks like a downgrade.
        # Mended, it has none from then on.
        found = self["feature_mechanisms"]._default_credentials(required, optional)
        if self.plus_failed:
            found["channel_binding"] = None
        return found

    def on_failed_auth(self, failure):
        if self.login["mended"] and self["feature_mechanisms"].mech.name.endswith("-PLUS"):
            self.plus_failed = True  # and it goes on with the next mechanism
        else:
            self.fail("authentication", failure["text"], failure["condition"])

    def on_stream_error(self, error):
        self.fail("stream", error["text"], error["condition"])

    def on_disconnected(self, why):
        if self.over.done():
            return
        # slixmpp leaves it to the program to come back; it then resumes the
        # session (XEP-0198), as long as that was not closed in good order.
        if self.is_online and self.login["resume"] and not self.end_session_on_disconnect:
            self.start()
        else:
            tell("offline", text=str(why or ""))
            self.over.set_result(0)

    def fail(self, kind, text, condition=""):
        if not self.over.done():
            tell("failed", kind=kind, condition=condition, text=text or "")
            self.over.set_result(1)

    # What the test asks for. A do_… gives the event that answers it, and its facts.

    async def obey(self, command):
        do = command["do"]
        try:
            event, facts = await getattr(self, "do_" + do)(command)
            if event:
                tell(event, **facts)
        except IqError as error:
            self.tell_error(do, error.iq)
        except IqTimeout:
            tell("error", what=do, text="no answer")

    async def do_send(self, command):
        self.send_message(mto=command["to"], mbody=command["body"], mtype="chat")
        return "", {}

    async def do_ping(self, _):
        await self["xep_0199"].ping(self.boundjid.host, timeout=30)
        return "pong", {}

    async def do_roster(self, _):
        # The answer is empty when nothing has changed (RFC 6121 §2.6).
        await self.get_roster()
        items = {j: self.client_roster[j]["subscription"]
                 for j in self.client_roster.keys() if j != self.boundjid.bare}
        return "roster", {"items": sorted(items), "subscriptions": items}

    async def do_add(self, command):
        await self.update_roster(command["jid"])
        return "added", {"jid": command["jid"]}

    async def do_subscribe(self, command):
        # The other side's slixmpp lets us and subscribes in turn, by itself.
        self.send_presence_subscription(pto=command["jid"], ptype="subscribe")
        return "asked", {}

    async def do_interest(self, command):
        self["xep_0163"].add_interest(command["node"])
        await self["xep_0115"].update_caps()
        self.send_presence()
        return "interested", {}

    async def do_carbons(self, _):
        await self["xep_0280"].enable()
        return "carbons", {}

    async def do_archive(self, command):
        answer = await self["xep_0313"].retrieve(with_jid=command["jid"])
        return "archive", {"items": [m["mam_result"]["forwarded"]["stanza"]["body"]
                                     for m in answer["mam"]["results"]]}

    async def do_block(self, command):
        await self["xep_0191"].block(command["jid"])
        answer = await self["xep_0191"].get_blocked()
        return "blocked", {"items": sorted(str(j) for j in answer["blocklist"]["items"])}

    async def do_unblock(self, command):
        await self["xep_0191"].unblock(command["jid"])
        return "unblocked", {}

    async def do_setvcard(self, command):
        vcard = self["xep_0054"].make_vcard()
        vcard["FN"] = command["name"]
        await self["xep_0054"].publish_vcard(vcard)
        return "setvcard", {}

    async def do_getvcard(self, command):
        answer = await self["xep_0054"].get_vcard(command["jid"], cached=False)
        return "getvcard", {"text": answer["vcard_temp"]["FN"],
                            "items": [p["TYPE"] for p in answer["vcard_temp"]["photos"]]}

    async def do_setavatar(self, _):
        data = bytes.fromhex(PIXEL)
        await self["xep_0084"].publish_avatar(data)
        await self["xep_0084"].publish_avatar_metadata({
            "id": self["xep_0084"].generate_id(data), "type": "image/png", "bytes": str(len(data))})
        return "setavatar", {}

    async def do_setdevices(self, command):
        devices = ElementTree.Element("{%s}list" % OMEMO)
        for number in command["devices"].split():
            ElementTree.SubElement(devices, "{%s}device" % OMEMO, id=number)
        options = self["xep_0004"].make_form("submit")
        options.add_field("FORM_TYPE", "hidden", value="http://jabber.org/protocol/pubsub#publish-options")
        options.add_field("pubsub#access_model", value="open")
        await self["xep_0060"].publish(self.boundjid.bare, OMEMO + ".devicelist", id="current",
                                       payload=devices, options=options)
        return "setdevices", {}

    async def do_getdevices(self, command):
        answer = await self["xep_0060"].get_items(command["jid"], OMEMO + ".devicelist")
        return "getdevices", {"items": [d.get("id") for i in answer["pubsub"]["items"] for d in i["payload"]]}

    async def do_cut(self, _):
        self.transport.abort()
        return "", {}


OMEMO = "eu.siacs.conversations.axolotl"

# A picture of one grey pixel.
PIXEL = ("89504e470d0a1a0a0000000d4948445200000001000000010800000000"
         "3a7e9b550000000a49444154789c636800000082008177cd72b60000000049454e44ae426082")


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    client = Client(json.loads(await lines.readline()))
    client.start()

    async def commands():
        while line := await lines.readline():
            await client.obey(json.loads(line))
        await client.disconnect(wait=2.0)
        if not client.over.done():
            client.over.set_result(0)

    reading = asyncio.ensure_future(commands())
    code = await client.over
    reading.cancel()
    client.abort()
    return code


sys.exit(asyncio.get_event_loop_policy().get_event_loop().run_until_complete(main()))
