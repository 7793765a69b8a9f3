"""An aioxmpp client that tests drive over its standard streams, as slixmpp_client.py
is driven: the same lines in and out, and fewer commands.
"""
import asyncio
import json
import socket
import sys

import aioxmpp
import aioxmpp.security_layer as security


def tell(event, **facts):
    print(json.dumps({"event": event, **facts}), flush=True)


class Client:
    def __init__(self, login):
        jid = aioxmpp.JID.fromstr(login["jid"])
        layer = aioxmpp.make_security_layer(login["password"], no_verify=False)

        def trust(*_, **__):
            context = security.default_ssl_context()
            if login["ca"]:
                context.load_verify_locations(login["ca"])
            return context

        connector = {"starttls": aioxmpp.connector.STARTTLSConnector,
                     "direct": aioxmpp.connector.XMPPOverTLSConnector}[login["tls"]]()
        self.over = asyncio.get_event_loop().create_future()
        self.xmpp = aioxmpp.PresenceManagedClient(
            jid, layer._replace(ssl_context_factory=trust),
            override_peer=[(login["host"], login["port"], connector)],
            max_initial_attempts=1)
        self.xmpp.resumption_timeout = None if login["resume"] else 0
        self.is_online = False

        self.roster = self.xmpp.summon(aioxmpp.RosterClient)
        self.carbons = self.xmpp.summon(aioxmpp.CarbonsClient)
        self.blocking = self.xmpp.summon(aioxmpp.BlockingClient)
        self.roster.on_subscribe.connect(self.on_subscribe)
        messages = self.xmpp.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        for kind in (aioxmpp.MessageType.CHAT, aioxmpp.MessageType.NORMAL):
            messages.register_callback(kind, None, self.on_message)
        self.xmpp.on_stream_established.connect(self.on_established)
        self.xmpp.on_stream_resumed.connect(lambda: tell("resumed"))
        self.xmpp.on_failure.connect(self.on_failure)
        self.xmpp.on_stopped.connect(lambda: self.end("offline", text=""))

    # What happens.

    def on_established(self):
        if not self.is_online:
            self.is_online = True
            tell("online", jid=str(self.xmpp.local_jid), mechanism="", tls="")

    def on_message(self, message):
        if message.xep0280_received or message.xep0280_sent:
            carbon = (message.xep0280_received or message.xep0280_sent).stanza
            tell("carbon", **{"from": str(carbon.from_.bare()), "body": carbon.body.any()})
        elif message.body:
            tell("message", **{"from": str(message.from_.bare()), "id": message.id_,
                               "body": message.body.any()})

    def on_subscribe(self, presence):
        self.roster.approve(presence.from_.bare())
        self.roster.subscribe(presence.from_.bare())

    def on_failure(self, why):
        kind = "authentication" if isinstance(why, aioxmpp.errors.SASLUnavailable | aioxmpp.AuthenticationFailure) else "connection"
        self.end("failed", kind=kind, condition="", text=str(why))

    def end(self, event, **facts):
        if not self.over.done():
            tell(event, **facts)
            self.over.set_result(0)

    # What the test asks for. A do_… gives the event that answers it, and its facts.

    async def obey(self, command):
        do = command["do"]
        try:
            event, facts = await getattr(self, "do_" + do)(command)
            if event:
                tell(event, **facts)
        except aioxmpp.errors.XMPPError as error:
            tell("error", what=do, condition=error.condition.value[1], text=str(error.text or ""))

    async def do_send(self, command):
        message = aioxmpp.Message(to=aioxmpp.JID.fromstr(command["to"]), type_=aioxmpp.MessageType.CHAT)
        message.body[None] = command["body"]
        await self.xmpp.send(message)
        return "", {}

    async def do_roster(self, _):
        items = self.roster.items
        return "roster", {"items": sorted(str(j) for j in items),
                          "subscriptions": {str(j): i.subscription for j, i in items.items()}}

    async def do_subscribe(self, command):
        self.roster.subscribe(aioxmpp.JID.fromstr(command["jid"]))
        return "asked", {}

    async def do_carbons(self, _):
        await self.carbons.enable()
        return "carbons", {}

    async def do_block(self, command):
        await self.blocking.block_jids([aioxmpp.JID.fromstr(command["jid"])])
        return "blocked", {"items": sorted(str(j) for j in self.blocking.blocklist)}

    async def do_unblock(self, command):
        await self.blocking.unblock_jids([aioxmpp.JID.fromstr(command["jid"])])
        return "unblocked", {}

    async def do_cut(self, _):
        self.xmpp.stream._xmlstream._transport._rawsock.shutdown(socket.SHUT_RDWR)
        return "", {}


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    client = Client(json.loads(await lines.readline()))
    client.xmpp.presence = aioxmpp.PresenceState(True)

    async def commands():
        while line := await lines.readline():
            await client.obey(json.loads(line))
        client.xmpp.stop()
        await asyncio.sleep(2)
        client.end("offline", text="")

    reading = asyncio.ensure_future(commands())
    await client.over
    reading.cancel()


asyncio.get_event_loop_policy().get_event_loop().run_until_complete(main())
