"""A Doom scenario from text: DECORATE actors and UDMF maps in a WAD, the engine's archive.

A square room of nukage, a pillar in its middle that disappears, and items of two colours:

        y 512  +---------------+        MAP01: the pillar is red, red items heal and green ones hurt
               |               |        MAP02: the other way round
               |       P       |
               |       ^       |        P pillar (-128, -128), ^ player (-128, -448), looking at it
       y -768  +---------------+
            x -768           512

The engine builds the nodes of a map from the text. Source: the released scenario of RATE
(CognitiveAISystems/RATE), measured by running it; the text is ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from string import Template

COLOURS = ("red", "green")  # MAP01, MAP02

LOW, HIGH = -768, 512  # borders of the room in x and y, map units
CENTRE = (LOW + HIGH) // 2
START_Y = (LOW + CENTRE) // 2  # midway between the pillar and the wall
MARGIN = 40  # items keep away from the walls
# Damage of a sector to the player in it, in health points every 32 tics, and the map's special.
ACID = {5: 71, 8: 83}

# Deviation D37: sprites of Freedoom.
_PILLARS = {"red": "COL3", "green": "COL1"}
_ARMOURS = {"red": "ARM2", "green": "ARM1"}
FULL_HEALTH = 100

# The engine randomises the duration of a thing's first state, so that state lasts a single tic.
_PILLAR = Template("""\
Actor ${colour}Pillar ${number}
{
  Radius 16
  Height 128
  +SOLID
  States
  {
  Spawn:
    $sprite A 1
    $sprite A $more_tics
    Stop
  }
}
""")
# COUNTITEM makes the engine count the right items that the player collects.
_ITEM = Template("""\
Actor ${name} : CustomInventory
{
  $count+INVENTORY.ALWAYSPICKUP
  Inventory.PickupMessage ""
  Inventory.PickupSound ""
  States
  {
  Spawn:
    $sprite A -1
    Stop
  Pickup:
    TNT1 A 0 $effect
    Stop
  }
}
""")

# Several at once, then one of each colour in turn. Flag 32 skips the check of a position, so that
# every item appears.
_SPAWNER = Template("""\
Actor ${name} ${number}
{
  +NOINTERACTION
  States
  {
  Spawn:
    TNT1 A 0
    $at_once
  More:
    TNT1 A $every_tics
    $first
    TNT1 A $every_tics
    $second
    Loop
  }
}
""")
_ONE = Template(
    'TNT1 A 0 A_SpawnItemEx("$item", frandom(-$reach, $reach), frandom(-$reach, $reach), 0, '
    "0, 0, 0, 0, 32)"
)

_ROOM = Template("""\
namespace = "zdoom";
vertex { x = $low; y = $low; }
vertex { x = $low; y = $high; }
vertex { x = $high; y = $high; }
vertex { x = $high; y = $low; }
linedef { v1 = 0; v2 = 1; sidefront = 0; blocking = true; }
linedef { v1 = 1; v2 = 2; sidefront = 1; blocking = true; }
linedef { v1 = 2; v2 = 3; sidefront = 2; blocking = true; }
linedef { v1 = 3; v2 = 0; sidefront = 3; blocking = true; }
sidedef { sector = 0; texturemiddle = "STONE2"; }
sidedef { sector = 0; texturemiddle = "STONE2"; }
sidedef { sector = 0; texturemiddle = "STONE2"; }
sidedef { sector = 0; texturemiddle = "STONE2"; }
sector
{
  heightfloor = 0; heightceiling = 128; lightlevel = 192; special = $acid;
  texturefloor = "NUKAGE1"; textureceiling = "CEIL5_2";
}
""")
_THING = Template(
    "thing { x = $x; y = $y; angle = $angle; type = $type; single = true; skill1 = true; "
    "skill2 = true; skill3 = true; skill4 = true; skill5 = true; class1 = true; }\n"
)


def two_colors_wad(
    pillar_tics: int, acid_health: int, item_health: int, items: int, every_tics: int
) -> bytes:
    """Return the scenario as a WAD archive.

    Args:
        pillar_tics: tics after which the pillar disappears (a second of the game has 35 tics).
        acid_health: health points that the floor takes every 32 tics, 5 or 8.
        item_health: health points that an item gives or takes.
        items: items of each colour at the start.
        every_tics: tics between two new items; the colours take turns.
    """
    actors = ""
    for number, colour in enumerate(COLOURS):
        actors += _PILLAR.substitute(
            colour=colour.title(),
            number=15001 + number,
            sprite=_PILLARS[colour],
            more_tics=pillar_tics - 1,
        )
        actors += _items(colour, item_health) + _spawner(number, colour, items, every_tics)
    lumps = [("DECORATE", actors)]
    for number, _ in enumerate(COLOURS):
        room = _ROOM.substitute(low=LOW, high=HIGH, acid=ACID[acid_health]) + _things(number)
        lumps += [(f"MAP{number + 1:02}", ""), ("TEXTMAP", room), ("ENDMAP", "")]
    return wad(lumps)


def _items(colour: str, health: int) -> str:
    """The actors of a colour's items: one for maps in which they heal, one for the others."""
    kinds = [("Right", "+COUNTITEM ", f"HealThing({health}, {FULL_HEALTH})")]
    kinds += [("Wrong", "", f"DamageThing({health})")]
    return "".join(
        _ITEM.substitute(
            name=kind + colour.title(), sprite=_ARMOURS[colour], count=count, effect=effect
        )
        for kind, count, effect in kinds
    )


def _spawner(number: int, right: str, items: int, every_tics: int) -> str:
    """The invisible actor in the middle of a map that creates its items."""
    reach = (HIGH - LOW) // 2 - MARGIN
    names = [("Right" if colour == right else "Wrong") + colour.title() for colour in COLOURS]
    spawns = [_ONE.substitute(item=name, reach=reach) for name in names]
    return _SPAWNER.substitute(
        name=f"{right.title()}Spawner", number=15011 + number, every_tics=every_tics,
        at_once="\n    ".join(spawns * items), first=spawns[1], second=spawns[0],
    )  # fmt: skip


def _things(number: int) -> str:
    """Player, pillar and spawner of a map."""
    player, pillar, spawner = 1, 15001 + number, 15011 + number
    things = [
        (CENTRE, START_Y, 90, player),
        (CENTRE, CENTRE, 0, pillar),
        (CENTRE, CENTRE, 0, spawner),
    ]
    return "".join(
        _THING.substitute(x=x, y=y, angle=angle, type=kind) for x, y, angle, kind in things
    )


def wad(lumps: Iterable[tuple[str, str]]) -> bytes:
    """Pack named texts as a WAD: a header of 12 bytes, the lumps, and 16 bytes per lump."""
    content, directory = b"", b""
    encoded = [(name, text.encode("ascii")) for name, text in lumps]
    for name, data in encoded:
        directory += struct.pack("<II8s", 12 + len(content), len(data), name.encode("ascii"))
        content += data
    return struct.pack("<4sII", b"PWAD", len(encoded), 12 + len(content)) + content + directory
