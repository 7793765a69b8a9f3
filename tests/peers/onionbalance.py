"""Debian's OnionBalance with the clocks of a test network.

Arguments are OnionBalance's own. It is written for days: it waits 45 s before
anything happens, asks for descriptors every ten minutes, and reckons with the
hours of the public network or (--is-testnet) with votes every 20 s. Here its
jobs run every few seconds, and the length of a vote is read from the network's
consensus, as tor itself does on a network for tests. Two more changes are for
the network's five relays, see below. All else is the package's.
"""
import io
import sys

import stem.control
import stem.descriptor
import stem.util
from onionbalance.common import argparser
from onionbalance.hs_v3 import consensus, descriptor, manager, params

params.INITIAL_CALLBACK_DELAY = 1
params.FETCH_DESCRIPTOR_FREQUENCY_TESTNET = 6
params.PUBLISH_DESCRIPTOR_CHECK_FREQUENCY_TESTNET = 2


def all_microdescriptors(self):
    """stem loses the newline that ends the last one, and so takes its relay for
    unknown. Of thousands that is one; here it is one of five, and OnionBalance
    never ends to look for a fifth directory."""
    text = self.get_info("md/all", get_bytes=True) + b"\n"
    return stem.descriptor.parse_file(io.BytesIO(text), "microdescriptor 1.0")


stem.control.Controller.get_microdescriptors = all_microdescriptors


def choose_apart(self, count=10, shuffle=True):
    """tor's clients tell introduction points apart by their relay. Where nodes
    share one, as they do among five, only the first of them would get clients.
    So the nodes choose in turn, each a relay that nobody has chosen."""
    chosen = {}
    for _ in range(count):
        for points in self.intro_points:
            free = [p for p in points if p.onion_key_raw not in chosen]
            if free and len(chosen) < count:
                chosen[free[0].onion_key_raw] = free[0]
    return list(chosen.values())


descriptor.IntroductionPointSetV3.choose = choose_apart


ROUNDS = 24  # of votes, in a run of the protocol for shared randomness


def vote(self):
    """The seconds between two votes."""
    return int((self.consensus.fresh_until - self.consensus.valid_after).total_seconds())


def run_start(self):
    start = stem.util.datetime_to_unix(self.consensus.valid_after)
    return int(start - start // vote(self) % ROUNDS * vote(self))


Consensus = consensus.Consensus
Consensus.get_time_period_length = lambda self: ROUNDS * vote(self) // 60
Consensus._get_srv_phase_duration = lambda self: ROUNDS // 2 * vote(self) // 60
Consensus.get_start_time_of_current_srv_run = run_start
Consensus.get_start_time_of_previous_srv_run = lambda self: run_start(self) - ROUNDS * vote(self)

sys.exit(manager.main(argparser.get_common_argparser().parse_args()))
