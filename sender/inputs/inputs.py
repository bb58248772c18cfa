"""All inputs of a run as one source: opened before the first send, read in the order given."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import InputError, UsageError
from sender.inputs.files import FileFeed, InputFile
from sender.inputs.formats import form_of
from sender.inputs.input_options import BY_NAME, InputOptions
from sender.inputs.names import scheme_of
from sender.inputs.objects.object_url import spooled_object
from sender.inputs.queries.place import is_database
from sender.inputs.row_input import JobArray, RowFeed, RowInput, TableInput
from sender.inputs.row_opener import RowOpener
from sender.inputs.spool import spooled
from sender.inputs.streams import StreamInput, refuse_array
from sender.jobs.job import MOST_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs import LaneOf
    from sender.inputs.line_batch import LineBatch
    from sender.inputs.sent_lines import SentLines
    from sender.inputs.tables import Table
    from sender.jobs.job import Line
    from sender.jobs.kinds import LaneName

STDIN: Final = "-"
Input = InputFile | StreamInput | RowInput


def open_inputs(names: Sequence[str], options: InputOptions = BY_NAME, *, most_line: int = MOST_LINE) -> Inputs:
    """Open every input; UsageError names all that cannot be read, or that the mapping does not fit."""
    problems: list[str] = []
    opened: list[Input] = []
    opener = RowOpener(options)
    if list(names).count(STDIN) > 1:
        raise UsageError("- (stdin) is given more than once")
    for name in names:
        try:
            opened.append(_open(name, opener, most_line))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        for one in opened:
            one.close()
        raise UsageError("; ".join(problems))
    return Inputs(opened)


class Inputs:
    """See `sender.inputs.Source`."""

    def __init__(self, opened: Sequence[Input]) -> None:
        self._opened = opened
        self._feeds: list[InputsFeed] = []
        self._stopped = False

    @property
    def files(self) -> Sequence[Input]:
        """The inputs in the order given."""
        return self._opened

    @property
    def file_names(self) -> tuple[str, ...]:
        """Those that are files, and can be read a second time."""
        return tuple(one.name for one in self._opened if not isinstance(one, StreamInput))

    @property
    def versions(self) -> dict[str, str]:
        """The ETags of those that are objects from elsewhere, by their names."""
        files = [one.file if isinstance(one, JobArray | TableInput) else one for one in self._opened]
        return {one.name: one.version for one in files if isinstance(one, InputFile) and one.version}

    def lines_of_files(self) -> Iterator[Line]:
        """All lines of those, read from their beginnings."""
        for one in self._opened:
            if not isinstance(one, StreamInput):
                yield from one.lines()

    @property
    def unread(self) -> int:
        """Lines of streams that came in, and nobody has taken: they have to be given again."""
        return sum(one.unread for one in self._opened if isinstance(one, StreamInput))

    def feed(self, lane: LaneName, lane_of: LaneOf, sent: SentLines | None = None) -> InputsFeed:
        """See `Source.feed`; lines that are known to be sent are passed over in files."""
        feed = InputsFeed(self._opened, lane, lane_of, sent)
        if self._stopped:
            feed.stop()
        self._feeds.append(feed)
        return feed

    def stop(self) -> None:
        """See `Source.stop`."""
        self._stopped = True
        for feed in self._feeds:
            feed.stop()
        for one in self._opened:
            if isinstance(one, StreamInput):
                one.stop()

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        for one in self._opened:
            one.close()


class InputsFeed:
    """One lane's lines over all inputs."""

    def __init__(
        self, inputs: Sequence[Input], lane: LaneName, lane_of: LaneOf, sent: SentLines | None = None
    ) -> None:
        self._sent = sent
        self._lane = lane
        self._waiting = list(inputs)
        self._lane_of = lane_of
        self._current: FileFeed | RowFeed | StreamInput | None = None
        self._stopped = False

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`."""
        while not self._stopped:
            if self._current is None and not self._next():
                return []
            if isinstance(self._current, FileFeed | RowFeed):
                lines = await self._current.read(most, most_bytes)
            elif self._current is not None:
                lines = await self._current.read(self._lane, most, most_bytes)
            else:
                lines = []
            if lines:
                return lines
            self._current = None
        return []

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopped = True
        if isinstance(self._current, FileFeed | RowFeed):
            self._current.stop()

    def _next(self) -> bool:
        if not self._waiting:
            return False
        following = self._waiting.pop(0)
        if isinstance(following, InputFile):
            self._current = FileFeed(following, self._lane, self._lane_of, self._sent)
        elif isinstance(following, StreamInput):
            following.use(self._lane_of)
            self._current = following
        else:
            self._current = RowFeed(following, self._lane, self._lane_of)
        return True


def _open(name: str, opener: RowOpener, most_line: int) -> Input:
    options = opener.options
    if is_database(name):
        return opener.open_query(name)
    form = form_of(name, options.format, mapped=bool(options.map))
    if form.format != "lines":
        file = _open_whole(name, form.compression)
        try:
            return opener.open(file, form.format)
        except UsageError:
            file.close()
            raise
    if scheme_of(name):
        return _open_whole(name, form.compression, most_line)
    if name != STDIN and _is_fifo(name):
        return StreamInput(name, None, most_line=most_line)
    handle, is_regular = _open_handle(name)
    if not is_regular:
        return StreamInput(name, handle, most_line=most_line)
    file = InputFile(name, handle, form.compression, most_line=most_line)
    try:
        refuse_array(name, file.chunks().read())
    except InputError:
        return file  # the same break is told when it is read in earnest
    except UsageError:
        file.close()
        raise
    return file


def open_table(name: str, options: InputOptions) -> Table:
    """The table of an input, without a mapping; UsageError when the input is none."""
    opener = RowOpener(options)
    if is_database(name):
        return opener.query(name)
    form = form_of(name, options.format, mapped=True)
    return opener.table(_open_whole(name, form.compression), form.format)


def _open_whole(name: str, compression: str | None, most_line: int = MOST_LINE) -> InputFile:
    """A file that can be read from its beginning again; what comes from elsewhere is kept in a private file."""
    if scheme_of(name):
        found = spooled_object(name)
        return InputFile(found.name, found.handle, compression, most_line=most_line, version=found.version)
    handle, is_regular = _open_handle(name)
    return InputFile(name, handle if is_regular else spooled(name, handle), compression)


def _open_handle(name: str) -> tuple[int, bool]:
    """A descriptor, and whether it is one of a regular file."""
    handle = _open_stdin() if name == STDIN else _open_file(name)
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        os.close(handle)
        raise UsageError(f"{name} is a directory; name its files")
    return handle, stat.S_ISREG(mode)


def _open_file(name: str) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None


def _is_fifo(name: str) -> bool:
    """Whether opening it would wait for a writer, and nobody could stop that."""
    try:
        return Path(name).is_fifo() and os.access(name, os.R_OK)
    except OSError:
        return False


def _open_stdin() -> int:
    if sys.stdin is None:
        raise UsageError("- names stdin, which is closed")
    return os.dup(sys.stdin.fileno())


def all_lines(names: tuple[str, ...], options: InputOptions = BY_NAME) -> Iterator[Line]:
    """Every line of these inputs; all are opened before the first is read."""
    for batch in all_batches(names, options):
        yield from batch.cut()


def all_batches(names: tuple[str, ...], options: InputOptions = BY_NAME) -> Iterator[LineBatch]:
    """The same, some lines at a time."""
    inputs = open_inputs(names, options)
    try:
        for one in inputs.files:
            yield from one.batches()
    finally:
        for one in inputs.files:
            one.close()
