"""The view of a burst: what stands in it at each moment, and what its buttons do."""

import xml.etree.ElementTree as ET

from mqlab.burst import DEAD, Rush
from mqlab.views import burst


def test_its_buttons_let_people_come_time_pass_and_the_mail_service_die() -> None:
    rush = Rush()
    player = burst.show(rush)
    for action in ("burst", "mail", "burst", "wait", "nonsense"):
        player._line._handle_custom_msg({"type": "click", "action": action}, [])
    assert not rush.alive
    assert rush.chain.seconds == 3
    assert len(rush.queue.visits) == 16
    assert sum(visit.seen == "error" for visit in rush.chain.visits) == 12


def test_every_moment_can_be_drawn_and_says_what_holds() -> None:
    rush = Rush()
    rush.burst(20)
    rush.kill_or_revive()
    rush.wait(1)
    for state in rush.trace.states(0, len(rush.trace) + 1):
        ET.fromstring(burst.draw(state))
    picture = burst.draw(rush.trace.state())
    assert DEAD in picture and "▸ revive it" in picture
    assert "16 errors: no mail" in picture
    assert "These visitors have their answer. The oldest work is 1.6 s old." in picture
    rush.kill_or_revive()
    rush.wait(20)
    picture = burst.draw(rush.trace.state())
    assert "No visitor waits." in picture and "20 welcomed, all done" in picture and "▸ kill it" in picture
