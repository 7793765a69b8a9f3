"""A slixmpp client that tests drive over its standard streams.

The first line of standard input is a JSON object: how to log in. Each later
line is a command. Each line of standard output is a JSON object: what
happened. The end of standard input ends the session.

    login     {"jid", "password", "host", "port", "tls": "starttls|direct|none",
               "ca": PEM file or "", "socks": "host:port", "unix:path" or "", "register": bool,
               "mechanism": the only one to use, or "", "resume": bool}
    commands  {"do": "send", "to", "body"}   {"do": "roster"}
              {"do": "add", "jid"}           {"do": "ping"}
    events    online, message, roster, added, pong, registered, resumed, error, failed, offline
"""
import asyncio
import json
import socket
import ssl
import sys

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
        self.over = asyncio.get_event_loop().create_future()
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        if login["register"]:
            self.register_plugin("xep_0077")
        if login["resume"]:
            self.register_plugin("xep_0198")
        if login["mechanism"]:
            self["feature_mechanisms"].use_mech = login["mechanism"]
        if login["ca"]:
            self.ca_certs = login["ca"]
        for event, handler in {
            "session_start": lambda _: self.send_presence(),
            "presence_available": self.on_presence,
            "message": self.on_message,
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
        if message["type"] == "error":
            self.tell_error("message", message)
        elif message["body"]:
            tell("message", **{"from": str(message["from"].bare), "id": message["id"],
                               "body": message["body"]})

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

    def on_failed_auth(self, failure):
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

    # What the test asks for.

    async def obey(self, command):
        do = command["do"]
        try:
            if do == "send":
                self.send_message(mto=command["to"], mbody=command["body"], mtype="chat")
            elif do == "roster":
                answer = await self.get_roster()
                tell("roster", items=sorted(str(j) for j in answer["roster"]["items"]))
            elif do == "add":
                await self.update_roster(command["jid"])
                tell("added", jid=command["jid"])
            elif do == "ping":
                await self["xep_0199"].ping(self.boundjid.host, timeout=30)
                tell("pong")
            else:
                tell("error", what=do, text="no such command")
        except IqError as error:
            self.tell_error(do, error.iq)
        except IqTimeout:
            tell("error", what=do, text="no answer")


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
