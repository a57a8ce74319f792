"""The call-frame information of one ELF file: from a pc to the rule that steps out of its frame.

    cfi = CallFrameInfo.open("/lib/x86_64-linux-gnu/libc.so.6")
    rule = cfi.rule(return_address - 1 - load_bias)

The pc of a caller is looked up less one, since a call that never returns may be the last instruction of its function;
that of the innermost frame, and one that a signal frame leads to, as it is.

Addresses are link-time addresses, those of the file's own headers. The file's `.eh_frame` is asked first, through the
table in `.eh_frame_hdr` where it has one, which needs no section headers; for what it does not cover, `.debug_frame`,
where `-g -fno-asynchronous-unwind-tables` puts it.
"""

from functools import cached_property
from os import PathLike

from emuleak.stacks.cfi_bytes import BadCallFrameInfo
from emuleak.stacks.cfi_elf import Bytes, ElfFile
from emuleak.stacks.cfi_entries import Fde, FrameTable
from emuleak.stacks.cfi_index import EhFrameHeader, HeaderIndex, ScannedIndex
from emuleak.stacks.cfi_rule import NO_REGISTER, RETURN_ADDRESS, Kind, Rule, Saved

__all__ = ["NO_REGISTER", "RETURN_ADDRESS", "BadCallFrameInfo", "CallFrameInfo", "Kind", "Rule", "Saved"]


class CallFrameInfo:
    """The rules of one file.

    `data` is the whole file and must not change or be closed while this is in use. Raises BadCallFrameInfo when it is
    no 64-bit little-endian ELF file; one without any call-frame information is an empty table.
    """

    def __init__(self, data: Bytes) -> None:
        self._elf = ElfFile(data)
        self._header = self._read_header()
        self._index: HeaderIndex | None = self._header.index if self._header is not None else None

    @classmethod
    def open(cls, path: str | PathLike[str]) -> "CallFrameInfo":
        """The call-frame information of the file at `path`. Raises BadCallFrameInfo, also when it cannot be read."""
        try:
            # Not mapped: the process dies of SIGBUS if a mapped file shrinks, as when the guest is compiled anew.
            with open(path, "rb") as file:
                return cls(file.read())
        except OSError as error:
            raise BadCallFrameInfo(f"{path}: cannot be read: {error.strerror}") from error

    def rule(self, address: int) -> Rule | None:
        """How to step out of the frame whose pc is at a link-time address; None when nothing covers the address.

        Raises BadCallFrameInfo when what covers it is corrupt. Not remembered: a caller that asks for the same address
        again keeps the answer.
        """
        fde = self._find(address)
        return fde.rule(address) if fde is not None else None

    def _find(self, address: int) -> Fde | None:
        fde = self._find_in_header(address)
        if fde is None and self._index is None:
            fde = self._eh_frame.find(address)
        if fde is not None:
            return fde
        if isinstance(self._debug_frame, BadCallFrameInfo):
            raise self._debug_frame
        return self._debug_frame.find(address)

    def _find_in_header(self, address: int) -> Fde | None:
        """Ask the table of `.eh_frame_hdr`, and give it up for good when it turns out to be wrong."""
        if self._index is None:
            return None
        try:
            fde = self._index.find(address)
        except BadCallFrameInfo:
            self._index = None
            return None
        if fde is None and not self._index.is_sorted():
            self._index = None
        return fde

    def _read_header(self) -> EhFrameHeader | None:
        if self._elf.eh_frame_header is None:
            return None
        try:
            return EhFrameHeader(self._elf, self._elf.eh_frame_header)
        except BadCallFrameInfo:
            return None

    @cached_property
    def _eh_frame(self) -> ScannedIndex:
        index = ScannedIndex()
        found = False
        for section in self._elf.sections(b".eh_frame"):
            found = True
            table = FrameTable(section.data, section.address)
            index.add(table, table.entries())
        if not found and self._header is not None:
            return self._header.scan()
        return index

    @cached_property
    def _debug_frame(self) -> ScannedIndex | BadCallFrameInfo:
        """Kept as an error, too: unpacking is not tried again for every address that nothing covers."""
        index = ScannedIndex()
        try:
            for section in self._elf.sections(b".debug_frame"):
                table = FrameTable(section.data, section.address, debug=True)
                index.add(table, table.entries())
        except BadCallFrameInfo as error:
            return error
        return index
