"""Why a block counts as it does, in words that a student can check: what holds it, or what became of what held it.

A reason says what is certain and no more. The scan says where a pointer was found; the instruction behind the call of
malloc says where the address was put first; a freed block that still holds a pointer was freed before what it owned.
Of several blocks in one finding only that is said which is true of all, or it is said of which one it is true.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from emuleak.events import Block, FailedRealloc
from emuleak.findings.phrases import at, called, counted
from emuleak.findings.phrases import block as block_text
from emuleak.findings.reachability import OUTSIDE, Scan, State, pointers
from emuleak.findings.trail import Link, Tops, link, ring, ways

if TYPE_CHECKING:
    from emuleak.findings.frames import Symbolizer
    from emuleak.findings.holders import Holder, Holders
    from emuleak.findings.homes import Home, Homes

_MOST_FREED: Final = 20_000
_MOST_RESCANNED: Final = 20_000
_ENDINGS: Final = frozenset(("exit", "_exit", "_Exit", "quick_exit"))
_LONGEST_CHAIN: Final = 8
_VERDICTS: Final = {
    State.LOST: "definitely lost",
    State.INDIRECT: "indirectly lost",
    State.POSSIBLE: "possibly lost",
}


class Reason(NamedTuple):
    """A finding's `why` and `chain`; no chain for what is lost."""

    why: str
    chain: tuple[str, ...] = ()


class Group(NamedTuple):
    """The blocks of one finding, or the first of them: indices of the scan, and how many they are in all."""

    state: State
    members: Sequence[int]
    blocks: int

    @property
    def whole(self) -> bool:
        """Whether all of its blocks are here."""
        return len(self.members) == self.blocks

    @property
    def subject(self) -> str:
        """How the sentence calls what is true of its first block alone."""
        return "it" if self.blocks == 1 else "the first of them"


class World(NamedTuple):
    """What reasons are drawn from besides the scan.

    `freed` gives the blocks of which nothing was given out again since, the oldest first, or none where some were;
    `freed_contents` what one held when it was freed. `had_returned` scans
    again as if the call of the first thread with that number had returned; `failed_realloc` is
    told a block's address and gives what failed of this very block; `word` reads the guest's memory.
    """

    symbolizer: "Symbolizer"
    holders: "Holders"
    homes: "Homes"
    freed: Callable[[], Sequence[Block]]
    freed_contents: Callable[[Block], bytes]
    had_returned: Callable[[int], Scan]
    failed_realloc: Callable[[int], FailedRealloc | None]
    word: Callable[[int], int]


class Reasons:
    """The reasons of one run."""

    def __init__(self, scan: Scan, world: World, count: int) -> None:
        self._scan = scan
        self._world = world
        self._count = count
        self._freed_owners: dict[int, Block] | None = None
        self._rescans: dict[int, Scan] = {}
        self._starts_known: set[int] | None = None
        self._tops = Tops(scan)
        self._block_texts: dict[tuple[object, ...], str] = {}
        self._root_holders: dict[int, Holder | None] = {}

    def of(self, state: State, members: Sequence[Block], blocks: int) -> Reason:
        """The reason of a finding about so many `blocks`, of which `members` are all or the first."""
        group = Group(state, [self._scan.index_of(block) for block in members], blocks)
        if group.state is State.REACHABLE:
            return self._reachable(group)
        if group.state is State.POSSIBLE:
            return self._possible(group)
        return Reason(self._indirect(group) if group.state is State.INDIRECT else self._lost(group))

    # ---- still reachable

    def _reachable(self, group: Group) -> Reason:
        first, depth = self._root_holder(group.members[0]), self._tops.of(group.members[0])[1]
        if first is None:
            return Reason("It was never freed, but a pointer to it was left at the end.")
        chain = self._chain(group, first, depth)
        holders = [self._root_holder(member) for member in group.members] if group.whole else []
        if not holders or any(holder is None or holder.text != first.text for holder in holders):
            return Reason(f"They were never freed. The first is held by {first.text}{_through(depth)}.", chain)
        direct = all(self._scan.parent(member) == OUTSIDE for member in group.members)
        through = "" if direct else _through(depth) if group.blocks == 1 else ", directly or through other blocks"
        words = [f"Held by {first.text}{through}, still reachable at exit.", self._story(group, first)]
        return Reason(" ".join(filter(None, words)), chain)

    def _root_holder(self, index: int) -> "Holder | None":
        top, _ = self._tops.of(index)
        if top not in self._root_holders:
            self._root_holders[top] = self._named(top)
        return self._root_holders[top]

    def _named(self, top: int) -> "Holder | None":
        found = link(self._scan, top)
        if found is None or found.root is None:
            return None
        holder = self._world.holders.name(found.root, found.offset)
        if holder.held is None or holder.short != holder.text:
            return holder
        return self._world.holders.local_with(self._scan.block(top).address + found.inside) or holder

    def _story(self, group: Group, holder: "Holder") -> str:
        """Why a local still exists: its function had not returned when the program ended."""
        held = holder.held
        if held is None or self._world.holders.is_library(held):
            return ""
        function = called(self._world.holders.function(held))
        if held.thread:
            number = self._world.holders.threads[held.thread].number
            where = f"thread {number}" if number else "the main thread"
            return f"{_capital(where)} was still in {function} when the program ended."
        frames = range(held.frame)
        inner = [self._world.holders.function(held._replace(frame=frame)) for frame in frames]
        if not _ENDINGS & set(inner):
            return f"{function} had not returned when the program ended."
        if function != "main()":
            return f"{function} had not returned when exit() was called."
        itself = inner[-1] in _ENDINGS
        way = "called exit() instead of returning" if itself else "had not returned when exit() was called"
        return f"main() {way}{self._otherwise(group, held.frame)}."

    def _otherwise(self, group: Group, frame: int) -> str:
        """What the verdict had been if main had returned, if that is the same for all."""
        if self._count > _MOST_RESCANNED or not group.whole:
            return ""
        if frame not in self._rescans:
            self._rescans[frame] = self._world.had_returned(frame)
        scan = self._rescans[frame]
        states = {scan.state(scan.index_of(self._scan.block(member))) for member in group.members}
        state = states.pop()
        if states or state not in _VERDICTS:
            return ""
        return f": had it returned, the {'block' if group.blocks == 1 else 'blocks'} would be {_VERDICTS[state]}"

    def _chain(self, group: Group, holder: "Holder", depth: int) -> tuple[str, ...]:
        """From the root to the block; of a long one the end."""
        trail = ways(self._scan, group.members[0], _LONGEST_CHAIN)
        left_out = depth + 1 - len(trail)
        found, pointee = [holder.text], None if left_out else holder.pointee
        if left_out:
            found.append(counted(left_out, "more block"))
        for index, target in pairwise(trail):
            text, pointee = self._step(index, target, pointee, holder)
            found.append(text)
        return (*found, "this block" if group.blocks == 1 else "the first of these blocks")

    def _step(self, index: int, target: int, pointee: object, holder: "Holder") -> tuple[str, object]:
        """A block on the way and where in it the pointer onward lies."""
        block, found, text = self._scan.block(index), link(self._scan, target), self._block(index)
        if found is None or found.holder != index:
            return text, None
        variables = None if holder.module is None else self._world.symbolizer.symbols(holder.module).variables
        # Whoever points into the middle does not say what is at the start.
        start = link(self._scan, index)
        if variables is not None and pointee is not None and start is not None and not start.inside:
            part = variables.in_block(pointee, block.size, found.offset)
            if part.path:
                onward = None if found.inside else part.pointee
                return f"{text}, in its `{part.path.removeprefix('.')}`", onward
        return f"{text}, at offset {found.offset}", None

    # ---- possibly lost

    def _possible(self, group: Group) -> Reason:
        links = [link(self._scan, member) for member in group.members]
        first = links[0]
        if first is None:
            return Reason("No pointer to its start is left, only one into its middle or one in a possibly lost block.")
        if first.holder != OUTSIDE and self._scan.state(first.holder) is State.POSSIBLE:
            text = f"Only possibly lost blocks lead to {group.subject}: a {self._block(first.holder)} is one of these."
            return Reason(text)
        whole = group.whole and not any(self._may_start(member) for member in group.members)
        middles = {(self._place(each), each.inside) if self._direct_middle(each) else None for each in links if each}
        middle = f"{counted(first.inside, 'byte')} behind the start, in {self._place(first)}"
        if group.blocks == 1 and whole:
            return Reason(f"No pointer to its start is left, only into its middle: {middle}.")
        if group.blocks == 1:
            return Reason(f"Only blocks that are lost themselves may know its start. Into its middle points: {middle}.")
        if whole and len(middles) == 1:
            return Reason(f"No pointer to the start of any of them is left, only into their middle: {middle}.")
        return Reason(f"No sure way leads to the start of any of them. Into the middle of the first points: {middle}.")

    def _direct_middle(self, found: Link) -> bool:
        """Whether the pointer into the middle lies where the program surely gets at it."""
        return found.holder == OUTSIDE or self._scan.state(found.holder) is State.REACHABLE

    def _may_start(self, index: int) -> bool:
        """Whether a block that is not reachable itself points to the start of this one, as far as is known."""
        if self._count > _MOST_RESCANNED:
            return True
        if self._starts_known is None:
            lost = (each for each in range(self._count) if self._scan.state(each) is not State.REACHABLE)
            self._starts_known = {word for each in lost for word in pointers(self._scan.contents(each))}
        return self._scan.block(index).address in self._starts_known

    def _place(self, found: Link) -> str:
        if found.root is not None:
            return self._world.holders.name(found.root, found.offset).text
        return f"a {self._block(found.holder)}"

    # ---- lost

    def _indirect(self, group: Group) -> str:
        owner = self._block(self._scan.parent(group.members[0]))
        if not group.whole or any(self._block(self._scan.parent(each)) != owner for each in group.members):
            return f"Only other lost blocks point to them; the first was lost with its owner, a {owner}."
        text = f"Lost with its owner, the {owner}" if group.blocks == 1 else f"Each was lost with its owner, a {owner}"
        leaders = {self._block(self._tops.of(member)[0]) for member in group.members}
        leader = leaders.pop()
        return f"{text}." if leaders or leader == owner else f"{text}, which hangs on a definitely lost {leader}."

    def _block(self, index: int) -> str:
        block = self._scan.block(index)
        key = block.size, block.stack, block.maker
        if key not in self._block_texts:
            frames = self._world.symbolizer.call(block.stack, block.maker)
            self._block_texts[key] = block_text(block.size, frames)
        return self._block_texts[key]

    def _lost(self, group: Group) -> str:
        circle = ring(self._scan, group.members[0])
        if circle is not None:
            return _ring_text(circle.others, group)
        words = self._not_resized(group) or " ".join(filter(None, (self._home(group), self._freed_holder(group))))
        if group.blocks == 1:
            left = "No pointer to it is left"
        elif group.whole and all(self._scan.closes_ring(member) is None for member in group.members):
            left = "No pointer to any of them is left"
        else:
            left = "Nothing leads to them any more"  # of some other lost blocks may know
        return f"{left}. {words}" if words else f"{left}: nothing in the program can free {_them(group)} any more."

    def _freed_holder(self, group: Group) -> str:
        """A freed block that still holds a pointer to this one: its owner, perhaps, or where a copy was left."""
        if self._freed_owners is None:
            self._freed_owners = self._read_freed()
        owners = [self._freed_owners.get(member) for member in group.members]
        first = owners[0]
        if first is None:
            return ""
        call = self._world.symbolizer.call
        by = at(self._world.symbolizer.release(first.freed)).replace(" in ", " by ", 1)
        owner = block_text(first.size, call(first.stack, first.maker))
        text = f"a {owner}, freed{by}, still holds"
        alike = group.whole and {owner and (owner.size, owner.stack, owner.freed) for owner in owners} == {
            (first.size, first.stack, first.freed)
        }
        if group.blocks == 1:
            return f"A{text[1:]} its address."
        return f"For each, {text} its address." if alike else f"A{text[1:]} the address of the first."

    def _read_freed(self) -> dict[int, Block]:
        """By lost block the one freed last that holds a pointer to its start.

        What `realloc` freed was copied to another place: that is no owner that died.
        """
        freed = self._world.freed()
        if not 0 < len(freed) <= _MOST_FREED:
            return {}
        owners: dict[int, list[Block]] = {}
        for block in freed:
            for word in pointers(self._world.freed_contents(block)):
                index = self._scan.target(word)
                if index is not None and self._scan.block(index).address == word:
                    owners.setdefault(index, []).append(block)
        every = (*freed, *self._scan.blocks()) if owners else ()
        moved = {block.stack for block in every if block.maker in {"realloc", "reallocarray"}}
        dead = {index: [block for block in blocks if block.freed not in moved] for index, blocks in owners.items()}
        return {index: blocks[-1] for index, blocks in dead.items() if blocks}

    def _not_resized(self, group: Group) -> str:
        """A realloc of the block that failed, and where its NULL was put."""
        if group.blocks > 1:
            return ""
        block = self._scan.block(group.members[0])
        failed = self._world.failed_realloc(block.address)
        if failed is None:
            return ""
        frames = self._world.symbolizer.call(failed.stack, "realloc")
        size = counted(failed.size, "byte")
        text = f"realloc() to {size} failed{at(frames)}: it returned NULL and left the block as it was"
        home = self._world.homes.first(failed.stack, "realloc")
        return f"{text}; the NULL was put into {home.name}." if home is not None else f"{text}."

    def _home(self, group: Group) -> str:
        """The variable that was given the address, and what became of it."""
        block = self._scan.block(group.members[0])
        home = self._world.homes.first(block.stack, block.maker)
        if home is None:
            return ""
        address = "its address" if group.blocks == 1 else "the address of each"
        text = f"{called(home.function)} put {address} into {home.name}"
        if home.static is not None:
            return f"{text}, which {self._now(home.static)}."
        return f"{text}{self._fate(home)}."

    def _fate(self, home: "Home") -> str:
        """What became of a local: its function is over, or it holds another value."""
        holders = self._world.holders
        running = {holders.function_start(frame.pc) for thread in holders.threads for frame in thread.frames}
        if holders.function_start(home.address) not in running:
            return ", and has returned" if holders.only_returns else ", and has ended"
        return ", which holds another value now" if home.function == "main" else ", which does not hold it any more"

    def _now(self, address: int) -> str:
        value = self._world.word(address)
        if value == 0:
            return "is NULL now"
        index = self._scan.target(value)
        return "holds another value now" if index is None else "points to another block now"


def _them(group: Group) -> str:
    return "it" if group.blocks == 1 else "them"


def _through(blocks: int) -> str:
    return f" through {counted(blocks, 'other block')}" if blocks else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ring_text(others: int | None, group: Group) -> str:
    first = "it" if group.blocks == 1 else "the first"
    if others == 0:
        return f"Nothing leads to {_them(group)} any more; {first} only points to itself."
    many = "other blocks" if others is None else counted(others, "other block")
    return f"Nothing leads to {_them(group)} any more; {first} and {many} hold each other in a ring."
