"""Wheels: names, reading, checking, writing, comparison with an environment. The way in; the parts are beside it."""

from bringup.formats.archive import ArchiveError, Problem
from bringup.formats.record import RecordEntry, format_record, parse_record
from bringup.formats.wheel_installed import check_installed, dist_info_installed, record_of_installed
from bringup.formats.wheel_name import WheelName, escape_name, expand_tag, same_name, with_local
from bringup.formats.wheel_read import check_wheel, dist_info_of, open_wheel, read_text, unpack_wheel, wheel_record
from bringup.formats.wheel_write import EPOCH, make_wheel, pack_wheel

__all__ = [
    "EPOCH",
    "ArchiveError",
    "Problem",
    "RecordEntry",
    "WheelName",
    "check_installed",
    "check_wheel",
    "dist_info_installed",
    "dist_info_of",
    "escape_name",
    "expand_tag",
    "format_record",
    "make_wheel",
    "open_wheel",
    "pack_wheel",
    "parse_record",
    "read_text",
    "record_of_installed",
    "same_name",
    "unpack_wheel",
    "wheel_record",
    "with_local",
]
