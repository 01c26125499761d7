"""A consumer group in memory: members by static instance, generations, and who has which partition."""

from dataclasses import dataclass

from tests.simulation.broker import FENCED_INSTANCE, ILLEGAL_GENERATION, OK, UNKNOWN_MEMBER

NAME = "tocsin.sim"


@dataclass(frozen=True)
class View:
    """What a member is told when it has joined."""

    generation: int
    member: str
    places: tuple


class Group:
    """`members`: instance → member id; `waiting`: those that have joined the generation to come."""

    def __init__(self, places, choose):
        self.places, self.choose = places, choose
        self.generation, self.serial = 0, 0
        self.members, self.assignment, self.waiting, self.rebalancing = {}, {}, {}, False

    def refuses(self, reader):
        """Return the error for an offset committed in this reader's name; as KIP-447 has it, none for nobody's name."""
        if reader.generation < 0 and not reader.member:
            return OK
        held = self.members.get(reader.instance)
        if held is None:
            return UNKNOWN_MEMBER
        if held != reader.member:
            return FENCED_INSTANCE
        return OK if reader.generation == self.generation else ILLEGAL_GENERATION

    def knows(self, instance, member):
        return self.members.get(instance) == member

    def join(self, instance, member, answer):
        """Wait for the next generation; a known instance that comes back as new gets what it had, without one."""
        self.serial += 1
        fresh = member or f"{instance}-{self.serial}"
        known = instance in self.members
        self.members[instance] = fresh
        if known and not member and not self.rebalancing and instance in self.assignment:
            answer(View(self.generation, fresh, self.assignment[instance]))
            return
        self.waiting[instance] = (fresh, answer)
        self.rebalancing = True

    def forget(self, instance):
        """Drop a member that was not heard of, or that leaves."""
        self.members.pop(instance, None)
        self.waiting.pop(instance, None)
        self.rebalancing = True

    @property
    def complete(self):
        """Return whether every member has joined."""
        return bool(self.waiting) and len(self.waiting) == len(self.members)

    def settle(self):
        """Begin the next generation with those that have joined; others are members no more."""
        waiting, self.waiting = self.waiting, {}
        self.generation += 1
        self.rebalancing = False
        self.members = {instance: member for instance, (member, _) in waiting.items()}
        shares = {instance: [] for instance in waiting}
        for place in self.places:
            shares[self.choose(list(shares))].append(place)
        self.assignment = {instance: tuple(share) for instance, share in shares.items()}
        for instance, (member, answer) in waiting.items():
            answer(View(self.generation, member, self.assignment[instance]))
