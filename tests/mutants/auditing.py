"""Guards of the audit: files that tile, offsets behind them, and files that are of this log."""

from tests.mutants.guard import UNIT, Edit, named, on_broker, without_broker

AUDITOR = "consumer/auditing/auditor.py"
DESK = "consumer/auditing/desk.py"
LINE = "consumer/auditing/line.py"
SCRIBE = "consumer/auditing/scribe.py"
SHELF = "consumer/images/shelf.py"
ROWS = "consumer/audit/rows.py"

AUDIT = "tests/integration/test_audit.py"
COVERAGE = "consumer/audit/coverage.py"
RECONCILE = "consumer/audit/reconcile.py"
VERIFY = "consumer/audit/verify.py"
SCRUTINY = "consumer/audit/scrutiny.py"

TEST_RECONCILE = f"{UNIT}/audit/test_reconcile.py"
TEST_VERIFY = f"{UNIT}/audit/test_verify.py"
TEST_AUDITOR = f"{UNIT}/auditing/test_auditor.py"
TEST_DESK = f"{UNIT}/auditing/test_desk.py"
TEST_LINE = f"{UNIT}/auditing/test_line.py"
TEST_SCRIBE = f"{UNIT}/auditing/test_scribe.py"
TEST_ROWS = f"{UNIT}/audit/test_rows.py"

GUARDS_OF_AUDITING = (
    on_broker(
        "audit-create-once",
        "a file of the audit is created, never overwritten; a store that cannot do that is refused",
        Edit(SHELF, 'settings, IfNoneMatch="*") is not None', "settings) is not None"),
        *named(AUDIT, "objects_are_encrypted_locked_and_signed_as_the_settings_say"),
        protocols=("classic",),
    ),
    without_broker(
        "audit-adopts",
        "an auditor that comes late takes the file that is there for its own and goes on behind it",
        Edit(SCRIBE, "            extent = _extent_of(path, content)\n            logger", "            logger"),
        *named(TEST_SCRIBE, "an_auditor_that_was_stalled_adopts_what_its_successor_wrote"),
    ),
    without_broker(
        "audit-noted-once",
        "a file stands in its manifest once, whoever noted it",
        Edit(SCRIBE, "page.manifest.end is not None and page.manifest.end >= file.end", "False"),
        *named(TEST_SCRIBE, "an_auditor_that_was_stalled_adopts_what_its_successor_wrote"),
    ),
    without_broker(
        "audit-same-log",
        "a file that is adopted is of this log, not of a topic that had its name",
        Edit(SCRIBE, "        self._compare(path, first, content)\n", ""),
        *named(TEST_SCRIBE, "a_topic_that_was_made_anew_is_not_taken_for_the_audited_one"),
    ),
    without_broker(
        "audit-same-log-at-takeover",
        "records are passed over only when one of them was found in the files",
        Edit(DESK, "            self._scribe.check(line.records[0])\n", ""),
        *named(TEST_DESK, "nothing_is_passed_over_before_a_record_has_shown_that_the_files_are_of_this_log"),
    ),
    without_broker(
        "audit-waits-for-a-record",
        "and not before there is one",
        Edit(
            DESK,
            "            if not line.records:\n                return",
            "            if False:\n                return",
        ),
        *named(TEST_DESK, "nothing_is_passed_over_before_a_record_has_shown_that_the_files_are_of_this_log"),
    ),
    without_broker(
        "audit-below-the-end",
        "a record that is in a file is not taken again",
        Edit(DESK, "if line is not None and record.offset >= line.begin:", "if line is not None:"),
        *named(TEST_DESK, "what_is_in_a_file_is_not_taken_again"),
    ),
    without_broker(
        "audit-gap-note",
        "only the group's note says that nothing lay between the last file and the committed offset",
        Edit(DESK, "Line(int(found[1]) if found and is_known else offset)", "Line(0)"),
        *named(TEST_DESK, "a_group_that_was_placed_behind_the_end_leaves_a_gap_that_is_told"),
    ),
    without_broker(
        "audit-drops-the-revoked",
        "what is revoked is dropped: its next owner writes it",
        Edit(DESK, "            self.lines.pop(partition, None)\n", ""),
        *named(TEST_DESK, "what_is_revoked_is_dropped"),
    ),
    without_broker(
        "audit-forgets-the-manifest",
        "a partition that comes back is looked up anew",
        Edit(DESK, "        self._ends.pop(partition, None)\n", ""),
        *named(TEST_DESK, "a_partition_that_comes_back_is_looked_up_anew"),
    ),
    without_broker(
        "audit-end-of-all-days",
        "the end is looked for on all days: timestamps need not rise with the offsets",
        Edit(
            SCRIBE, "(found.manifest.end or 0) > (page.manifest.end or 0)", "found.manifest.date > page.manifest.date"
        ),
        *named(TEST_SCRIBE, "the_end_is_found_where_the_days_do_not_rise_with_the_offsets"),
    ),
    without_broker(
        "audit-commit-behind-the-file",
        "no offset is committed that is in no file",
        Edit(
            AUDITOR,
            "return line.begin if line.records or position is None else",
            "return line.begin if position is None else",
        ),
        *named(TEST_AUDITOR, "nothing_is_committed_that_is_in_no_file"),
    ),
    without_broker(
        "audit-commit-when-joined",
        "nothing is committed of a partition before it is known how it goes on",
        Edit(AUDITOR, "                if line.is_joined\n", ""),
        *named(TEST_AUDITOR, "nothing_is_committed_before_it_is_known_how_a_partition_goes_on"),
    ),
    without_broker(
        "audit-room",
        "a full room pauses the intake",
        Edit(AUDITOR, "                post.source.pause(post.source.owned)", "                pass"),
        *named(TEST_AUDITOR, "an_outage_pauses_the_intake_when_the_room_is_full_and_ends_by_itself"),
    ),
    without_broker(
        "audit-outage",
        "what the store refuses after the start is waited out",
        Edit(AUDITOR, "except (Unavailable, SettingsError) as error:", "except SettingsError as error:"),
        *named(TEST_AUDITOR, "an_outage_pauses_the_intake_when_the_room_is_full_and_ends_by_itself"),
    ),
    without_broker(
        "audit-writes-at-the-end",
        "a stop writes what is in hand",
        Edit(
            AUDITOR,
            '        self._health.set("group", "stopping")\n        self._write_due(all_of_it=True)\n',
            '        self._health.set("group", "stopping")\n        end = 0.0\n',
        ),
        *named(TEST_AUDITOR, "a_stop_writes_what_is_in_hand"),
    ),
    without_broker(
        "audit-day",
        "a file's rows are of its day or the day before",
        Edit(
            LINE,
            "return self._day is not None and self._day - _A_DAY <= day <= self._day",
            "return self._day is not None",
        ),
        *named(TEST_LINE, "a_late_row_of_the_day_before_stays_and_an_older_one_does_not"),
    ),
    without_broker(
        "audit-foreign",
        "what is no outcome is a row too",
        Edit(
            ROWS,
            '    return _record(record) | {"kind": "foreign"',
            '    raise error\n    return _record(record) | {"kind": "foreign"',
        ),
        *named(TEST_ROWS, "what_is_no_outcome_is_a_row_with_its_bytes"),
    ),
    without_broker(
        "audit-wide-numbers",
        "a number that no column holds stops nothing",
        Edit(ROWS, "schema=schema, strict=False)", "schema=schema)"),
        *named(TEST_ROWS, "numbers_that_no_column_holds_are_null_and_stop_nothing"),
    ),
    without_broker(
        "reconcile-rows-once",
        "a row that lies there twice counts once",
        Edit(RECONCILE, 'outcomes.unique(["lies_in", "lies_at", "lies"])', "outcomes"),
        *named(TEST_RECONCILE, "a_doubled_file_is_an_overlap_and_its_rows_count_once"),
    ),
    without_broker(
        "reconcile-index",
        "each job of a record of several needs an outcome of its own",
        Edit(RECONCILE, '_PLACE = ["offset", "index"]', '_PLACE = ["offset"]'),
        *named(TEST_RECONCILE, "one_of_several_that_has_none_is_named_by_its_index"),
    ),
    without_broker(
        "reconcile-tiling",
        "a gap between files is a finding",
        Edit(COVERAGE, "            if end not in known:", "            if False:"),
        *named(TEST_RECONCILE, "a_gap_is_named_without_manifests_too"),
    ),
    without_broker(
        "reconcile-last-file",
        "a last file that is gone is known from its manifest",
        Edit(COVERAGE, "not in there:", "not in there and False:"),
        *named(TEST_RECONCILE, "a_file_that_is_gone_is_named"),
    ),
    without_broker(
        "reconcile-open-is-a-failure",
        "a job that may still wait is a failure unless that was allowed",
        Edit(RECONCILE, 'not (kind == "open" and self._asked.may_be_open)', 'kind != "open"'),
        *named(TEST_RECONCILE, "what_is_open_may_be_allowed_and_what_is_missing_may_not"),
    ),
    without_broker(
        "verify-digest",
        "every file's digest is computed again",
        Edit(VERIFY, "if hashlib.sha256(content).hexdigest() != entry.sha256:", "if False:"),
        *named(TEST_VERIFY, "no_byte_can_be_changed_unnoticed"),
    ),
    without_broker(
        "verify-whose-key",
        "with a public key a signature by another one does not count",
        Edit(SCRUTINY, "if trust.keys and signature.public_key not in trust.keys:", "if False:"),
        *named(TEST_VERIFY, "a_manifest_signed_by_another_key_is_named_where_the_right_one_is_known"),
    ),
)
