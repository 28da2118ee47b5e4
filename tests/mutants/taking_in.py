"""Guards of what is taken in and kept: positions, the ledger, admission, custody after deaths; and of turning."""

from tests.mutants.guard import DELIVERY, GUARDS, KAFKA_UNIT, PLACE, UNIT, Edit, Guard, named, on_broker, without_broker

SOURCE = "consumer/kafka/source.py"
CLIENT = "consumer/kafka/client.py"
TOPICS = "consumer/kafka/topics.py"
LEDGER = "consumer/ledger.py"
ADMISSION = "consumer/admission.py"
CUSTODY = "consumer/custody.py"
RUNNER = "consumer/runner.py"
INSPECTOR = "consumer/inspector.py"
PROCESS = "consumer/process.py"

TEST_SOURCE = f"{KAFKA_UNIT}/test_source.py"
TEST_LEDGER = f"{UNIT}/test_ledger.py"
TEST_ADMISSION = f"{UNIT}/test_admission.py"
TEST_CUSTODY = f"{UNIT}/test_custody.py"
TEST_INSPECTOR = f"{UNIT}/test_inspector.py"
STANDS_STILL = f"{UNIT}/test_process.py::test_a_process_whose_loop_stands_still_ends_and_leaves_its_stacks"

PLACED_AT_ONCE = (
    "            for partition, offset in offsets.items():\n"
    '                self._place_at(partition, Committed(offset, ""))\n'
)
STARTS = tuple(
    f"{DELIVERY}::test_a_group_without_offsets_starts_where_it_is_told_and_commits_that_at_once[{parameters}]"
    for parameters in ("latest-5", "earliest-2")
)
LATE_ANSWER = named(DELIVERY, "a_late_answer_of_a_dropped_attempt_does_not_finish_the_new_one")
TAKEOVER = named(
    GUARDS,
    "after_a_death_the_group_knows_of_each_job_before_it_is_decoded",
    "a_job_that_so_many_processes_died_of_is_set_aside_and_its_neighbours_are_done",
)
HANDS_OVER = named(GUARDS, "nothing_is_begun_before_the_group_knows_whose_it_is_and_a_member_that_leaves_hands_over")

POSITIONS = (
    on_broker(
        "no-reset",
        "a committed offset that fell out of the log is never reset",
        Edit(CLIENT, '"auto.offset.reset": "error",', '"auto.offset.reset": "earliest",'),
        *named(DELIVERY, "a_committed_offset_that_fell_out_of_the_log_ends_the_process_and_is_not_reset"),
    ),
    on_broker(
        "reset-ends-the-process",
        "it ends the process, with one line",
        Edit(
            SOURCE,
            "case KafkaError._AUTO_OFFSET_RESET if self._has_been_at(message):",
            "case KafkaError._AUTO_OFFSET_RESET if False:",
        ),
        *named(DELIVERY, "a_committed_offset_that_fell_out_of_the_log_ends_the_process_and_is_not_reset"),
    ),
    on_broker(
        "start-as-told",
        "a group without offsets starts where kafka.start says",
        Edit(SOURCE, "self._log_offsets(partitions, self._start)", 'self._log_offsets(partitions, "earliest")'),
        *STARTS,
    ),
    without_broker(
        "leaders-are-learnt-anew",
        "a question that a partition's leader refuses is followed by one for its leaders",
        Edit(TOPICS, "            self._learn_leaders(timeout)\n", ""),
        f"{KAFKA_UNIT}/test_log_offsets.py::test_a_leader_that_was_elected_anew_is_asked_with_its_new_epoch",
    ),
    on_broker(
        "missed-partitions",
        "partitions that a lost answer gave to a member are found by asking for the group",
        Edit(SOURCE, "or not self._missed.is_due:", "or True:"),
        *named("tests/integration/test_missed_assignment.py", "a_member_that_missed_what_it_was_given_joins_anew"),
        protocols=("consumer",),
    ),
    Guard(
        "start-is-committed",
        "and that position is committed at once (by itself, and again with the claim of careful mode)",
        (
            Edit(
                SOURCE,
                "            self._starting = frozenset(offsets.items())\n            self._send_commit(offsets)\n",
                PLACED_AT_ONCE,
            ),
            Edit(
                CUSTODY,
                "        claims = [custody.position(number)",
                "        claims = [] and [custody.position(number)",
            ),
            Edit(CUSTODY, "custody is not None and custody.is_claimed and not", "custody is not None and not"),
        ),
        STARTS,
    ),
    on_broker(
        "start-is-taken",
        "nothing is read from a start that the group did not take",
        Edit(
            SOURCE,
            "            self._send_commit(offsets)",
            "            self._send_commit(offsets)\n" + PLACED_AT_ONCE,
        ),
        *named(DELIVERY, "nothing_is_read_from_a_start_that_the_group_did_not_take"),
    ),
    on_broker(
        "paused-until-placed",
        "an assigned partition is paused until its position is known",
        Edit(SOURCE, "        consumer.pause([TopicPartition(self._topic, number) for number in numbers])\n", ""),
        *named(GUARDS, "an_assigned_partition_is_not_fetched_before_its_position_is_known"),
    ),
    without_broker(
        "records-before-the-position",
        "a record that comes before its partition's position is known is none",
        Edit(
            SOURCE,
            "elif message.partition() in self._owned - self._unplaced:",
            "elif message.partition() in self._owned:",
        ),
        *named(TEST_SOURCE, "what_lies_below_the_position_or_comes_before_it_is_known_is_no_record"),
    ),
    without_broker(
        "records-below-the-position",
        "a record below the position is dropped",
        Edit(SOURCE, "if record.offset >= self._positions[record.partition]:", "if True:"),
        *named(TEST_SOURCE, "what_lies_below_the_position_or_comes_before_it_is_known_is_no_record"),
    ),
    on_broker(
        "placed-one-by-one",
        "an unstable offset holds up its own partition alone",
        Edit(TOPICS, "            if len(partitions) == 1:\n                raise\n", "            raise\n"),
        *named(DELIVERY, "unstable_offsets_hold_their_own_partition_alone"),
    ),
    on_broker(
        "asked-for-half-a-second",
        "the loop does not wait for an unstable offset",
        Edit(SOURCE, "POSITION_TIMEOUT = 0.5", "POSITION_TIMEOUT = 30.0"),
        *named(DELIVERY, "unstable_offsets_hold_their_own_partition_alone"),
    ),
    without_broker(
        "no-standstill",
        "a partition that cannot be started ends the process instead of standing still",
        Edit(
            SOURCE,
            "case KafkaError._AUTO_OFFSET_RESET if partition in self._unplaced:",
            "case KafkaError._AUTO_OFFSET_RESET if False:",
        ),
        *named(
            TEST_SOURCE,
            "a_position_that_is_not_in_the_log_any_more_ends_the_process_and_so_does_a_partition_that_stands_still",
        ),
    ),
    on_broker(
        "incremental",
        "assignments are incremental",
        Edit(SOURCE, "        consumer.incremental_assign(\n", "        consumer.assign(\n"),
        *named(DELIVERY, "finished_heads_are_delivered_when_their_partition_is_revoked"),
    ),
    without_broker(
        "paused-when-full",
        "a partition whose queue is full is paused",
        Edit(ADMISSION, "if len(queue) >= HIGH_MARK]", "if False]"),
        *named(
            TEST_ADMISSION,
            "a_partition_is_paused_only_when_its_queue_is_full_and_resumed_when_it_is_nearly_empty",
        ),
    ),
    without_broker(
        "pause-after-a-rebalance",
        "a pause is applied again after a rebalance",
        Edit(SOURCE, "if self._has_rebalanced and self._paused:", "if False:"),
        *named(TEST_SOURCE, "what_was_paused_is_so_after_a_rebalance_whatever_librdkafka_makes_of_it"),
    ),
    without_broker(
        "lost-is-not-revoked",
        "the callback for lost partitions tells of a loss",
        Edit(
            SOURCE,
            "self._guarded(self._unassign, consumer, partitions, self._listener.lost)",
            "self._guarded(self._unassign, consumer, partitions, self._listener.revoked)",
        ),
        *named(TEST_SOURCE, "lost_is_told_apart_from_revoked"),
    ),
    on_broker(
        "lost-is-heard",
        "librdkafka tells lost partitions apart",
        Edit(SOURCE, "on_lost=self._on_lost", "on_lost=self._on_revoke"),
        f"{DELIVERY}::test_nothing_of_a_lost_partition_is_delivered[{PLACE}]",
    ),
    without_broker(
        "errors-in-callbacks",
        "an error of a rebalance callback waits for the end of the poll",
        Edit(
            SOURCE,
            "            self._callback_error = self._callback_error or error\n\n    def _raise",
            "            raise\n\n    def _raise",
        ),
        *named(TEST_SOURCE, "an_error_of_a_callback_waits_for_the_end_of_the_poll_and_what_went_away_is_gone"),
    ),
    on_broker(
        "errors-in-callbacks-on-leaving",
        "and is not kept quiet on leaving",
        Edit(
            SOURCE,
            "            self._consumer = None\n        self._raise_callback_error()",
            "            self._consumer = None",
        ),
        *named(DELIVERY, "a_fence_that_is_met_on_leaving_is_not_kept_quiet"),
    ),
    on_broker(
        "leaving",
        "a member without partitions that leaves tells the group",
        Edit(SOURCE, "                self._consumer.unsubscribe()", "                pass"),
        *named(GUARDS, "a_member_without_partitions_that_leaves_is_gone_at_once"),
        protocols=("classic",),
    ),
)

LEDGERS = (
    without_broker(
        "contiguous-heads",
        "nothing leaves past an unfinished entry",
        Edit(
            LEDGER,
            "            if not entry.is_finished or len(head) == limit:\n                break",
            "            if not entry.is_finished:\n                continue",
        ),
        *named(TEST_LEDGER, "nothing_leaves_past_an_unfinished_entry"),
    ),
    without_broker(
        "heads-are-looked-at",
        "a look at the heads takes nothing away",
        Edit(
            LEDGER,
            "        for entry in line.entries:\n            if not entry.is_finished or",
            "        for entry in [line.entries.popleft() for _ in [*line.entries]]:\n"
            "            if not entry.is_finished or",
        ),
        *named(TEST_LEDGER, "a_look_at_the_heads_takes_nothing_away"),
    ),
    without_broker(
        "epoch",
        "what was begun before a partition went away is not ours when it comes back",
        Edit(LEDGER, "return line is not None and line.epoch == epoch", "return line is not None"),
        *named(TEST_LEDGER, "a_partition_given_again_has_another_epoch"),
    ),
    without_broker(
        "epoch-grows",
        "each assignment has an epoch of its own",
        Edit(LEDGER, "self._epochs[partition] = self._epochs.get(partition, 0) + 1", "self._epochs[partition] = 1"),
        *named(TEST_LEDGER, "a_partition_given_again_has_another_epoch"),
    ),
    on_broker(
        "entry-identity",
        "a late answer of a dropped attempt does not finish the new one",
        Edit(
            LEDGER,
            "entry: Entry[P, T] = Entry(line, offset, jobs, timestamp=timestamp, skipped=skipped)\n",
            "entry = Entry(line, offset, jobs, timestamp=timestamp, skipped=skipped)\n"
            "        entry = vars(self).setdefault((partition, offset), entry)\n",
        ),
        *named(TEST_LEDGER, "a_late_answer_of_a_dropped_attempt_does_not_finish_the_new_one"),
        *LATE_ANSWER,
    ),
    without_broker(
        "dropped-entries-know",
        "an entry that was dropped knows it",
        Edit(
            LEDGER,
            "        for entry in line.entries:\n            entry.is_dropped = True\n        return line.jobs",
            "        return line.jobs",
        ),
        *named(TEST_LEDGER, "an_assignment_without_a_revocation_drops_what_was_in_hand"),
    ),
    without_broker(
        "one-outcome",
        "a job has one outcome",
        Edit(
            LEDGER,
            "            if self._outcomes[index] is not None:\n                raise",
            "            if False:\n                raise",
        ),
        *named(TEST_LEDGER, "a_job_has_one_outcome"),
    ),
    without_broker(
        "offsets-grow",
        "an offset is never taken in hand twice while the partition is ours",
        Edit(LEDGER, "if line.last_offset >= offset:", "if False:"),
        *named(TEST_LEDGER, "an_offset_never_comes_twice_while_the_partition_is_ours"),
    ),
    without_broker(
        "removed-below",
        "what is removed lies below the committed offset",
        Edit(LEDGER, "line.entries[0].offset < next_offset:", "line.entries[0].offset <= next_offset:"),
        *named(TEST_LEDGER, "an_unfinished_entry_below_the_committed_offset_was_done_by_somebody_else"),
    ),
    without_broker(
        "room",
        "no more is in hand than there is room for",
        Edit(ADMISSION, "lendable <= 0) or", "False) or"),
        *named(TEST_ADMISSION, "one_partition_alone_may_use_all_of_the_room_but_no_more"),
    ),
    without_broker(
        "share",
        "every partition keeps its share of the room",
        Edit(ADMISSION, "share = max(1, self._room // 2 // max(1, len(self._queues)))", "share = 1"),
        *named(TEST_ADMISSION, "a_run_of_records_cannot_take_the_share_of_the_others"),
    ),
    without_broker(
        "round-robin",
        "what is lent goes round",
        Edit(
            ADMISSION,
            "queue = self._queues[partition] = self._queues.pop(partition)",
            "queue = self._queues[partition]",
        ),
        *named(TEST_ADMISSION, "what_is_lent_goes_to_whoever_was_served_longest_ago"),
    ),
    without_broker(
        "polling-goes-on",
        "polling goes on when there is no room",
        Edit(
            ADMISSION,
            "return max(1, self._room + LOW_MARK - in_hand - waiting)",
            "return max(0, self._room + LOW_MARK - in_hand - waiting)",
        ),
        *named(TEST_ADMISSION, "polling_goes_on_when_there_is_no_room"),
    ),
)

CUSTODIES = (
    without_broker(
        "claim",
        "nothing is begun before the group knows whose the partition is",
        Edit(CUSTODY, "custody is not None and custody.is_claimed and not", "custody is not None and not"),
        *named(TEST_CUSTODY, "nothing_begins_before_the_group_knows_whose_the_partition_is"),
    ),
    on_broker(
        "claim-in-the-loop",
        "and the loop asks for that",
        Edit(RUNNER, "self._admission.admitted(self._custodian.may_start)", "self._admission.admitted()"),
        *named(GUARDS, "nothing_is_begun_while_it_cannot_be_committed_whose_it_is"),
    ),
    without_broker(
        "claim-of-this-time",
        "a claim of the time before the partition went away counts for nothing",
        Edit(CUSTODY, "if custody is not None and custody.epoch == position.epoch:", "if custody is not None:"),
        *named(TEST_CUSTODY, "a_claim_of_a_time_before_the_partition_was_taken_away_counts_for_nothing"),
    ),
    on_broker(
        "note-is-committed",
        "what the next owner must know stands beside each offset",
        Edit(SOURCE, ", metadata=note(partition, offset))", ', metadata="")'),
        *HANDS_OVER,
    ),
    on_broker(
        "note-is-read",
        "and the next owner reads it",
        Edit(
            SOURCE,
            "self._listener.placed(partition, left.offset, left.note)",
            'self._listener.placed(partition, left.offset, "")',
        ),
        *TAKEOVER,
    ),
    without_broker(
        "one-at-a-time",
        "after a death one job of the partition is done at a time",
        Edit(CUSTODY, " and not (custody.careful and self._ledger.count(partition))", ""),
        *named(TEST_CUSTODY, "after_a_death_as_many_jobs_as_were_in_flight_are_done_one_at_a_time"),
    ),
    without_broker(
        "careful-mode-ends",
        "for as many jobs as were in flight, and no more",
        Edit(CUSTODY, "self.careful = max(0, self.careful - jobs)", "self.careful = max(0, self.careful)"),
        *named(TEST_CUSTODY, "after_a_death_as_many_jobs_as_were_in_flight_are_done_one_at_a_time"),
    ),
    without_broker(
        "one-hand",
        "of all jobs of a process one is in hand at the most",
        Edit(CUSTODY, "if holder is None or holder in (place.entry, *heads)", "if True"),
        *named(TEST_CUSTODY, "two_jobs_are_never_in_hand_at_once"),
    ),
    without_broker(
        "mark-before-decode",
        "a job is marked after its fetch and before its decoding",
        Edit(INSPECTOR, "            claim.take_in_hand()\n", ""),
        *named(TEST_INSPECTOR, "nothing_is_decoded_without_leave"),
    ),
    on_broker(
        "mark-is-awaited",
        "its worker waits until the group knows",
        Edit(RUNNER, "        entry.leave = self._custodian.ask\n", ""),
        *TAKEOVER,
    ),
    without_broker(
        "mark-is-granted-by-the-commit",
        "a mark that was not committed lets nothing begin",
        Edit(
            CUSTODY,
            "            self._marking = self._next(heads)\n",
            "            self._marking = self._next(heads)\n"
            "            if self._marking:\n                self._grant(self._marking)\n",
        ),
        *named(TEST_CUSTODY, "a_mark_that_was_not_committed_lets_nothing_begin"),
    ),
    without_broker(
        "marks-alone-count",
        "only a takeover that finds a mark counts against a job",
        Edit(
            CUSTODY,
            "        if note.hand is not None:\n            deaths[note.hand] = deaths.get(note.hand, 0) + 1",
            "        hand = note.hand or 0\n        deaths[hand] = deaths.get(hand, 0) + 1",
        ),
        *named(TEST_CUSTODY, "only_the_job_in_hand_is_held_responsible"),
    ),
    without_broker(
        "own-notes",
        "who gets its own partition back has not died",
        Edit(CUSTODY, "if note.released or note.by == by:", "if note.released:"),
        *named(TEST_CUSTODY, "who_gets_its_own_partition_back_after_a_stall_has_not_died"),
    ),
    without_broker(
        "other-versions",
        "what another program or version wrote is ignored",
        Edit(CUSTODY, 'schema: Literal["inspection.custody/1"]', "schema: str"),
        *named(TEST_CUSTODY, "what_another_program_or_version_wrote_is_ignored"),
    ),
    without_broker(
        "three-deaths",
        "the third death in hand is the last",
        Edit(CUSTODY, "custody.deaths.get(place.index, 0) >= DEATHS", "custody.deaths.get(place.index, 0) > DEATHS"),
        *named(TEST_CUSTODY, "the_third_death_in_hand_is_the_last"),
    ),
    without_broker(
        "two-deaths",
        "and the second is not",
        Edit(
            CUSTODY, "custody.deaths.get(place.index, 0) >= DEATHS", "custody.deaths.get(place.index, 0) >= DEATHS - 1"
        ),
        *named(TEST_CUSTODY, "the_third_death_in_hand_is_the_last"),
    ),
    on_broker(
        "killers-are-set-aside",
        "a job that so many processes died of is not tried again",
        Edit(RUNNER, "if self._custodian.has_killed(place):", "if False:"),
        *TAKEOVER,
    ),
    without_broker(
        "deaths-of-one-record",
        "deaths speak of one record alone",
        Edit(CUSTODY, "            self.offset, self.deaths = offset, {}", "            self.offset = offset"),
        *named(TEST_CUSTODY, "deaths_speak_of_one_record_alone"),
    ),
    without_broker(
        "release",
        "a partition that is handed over was not died of",
        Edit(CUSTODY, "released=partition in self._releasing,", "released=False,"),
        *named(TEST_CUSTODY, "what_was_handed_over_is_gone_on_with_at_full_speed"),
    ),
    on_broker(
        "release-on-leaving",
        "a member that leaves hands over",
        Edit(
            RUNNER,
            "with self._custodian.releasing(partitions) as notes:",
            "with self._custodian.releasing([]) as notes:",
        ),
        *HANDS_OVER,
    ),
    Guard(
        "release-of-a-mark",
        "a job in hand of an owner that hands over is not held responsible",
        (
            Edit(
                CUSTODY, "if place and is_here and partition not in self._releasing else", "if place and is_here else"
            ),
            Edit(
                CUSTODY,
                "if note.released or note.by == by:",
                "if note.hand is None and (note.released or note.by == by):",
            ),
        ),
        named(TEST_CUSTODY, "a_job_in_hand_of_an_owner_that_hands_over_is_not_held_responsible"),
        protocols=(),
    ),
    without_broker(
        "second-death",
        "a second death soon after makes all careful that may have been begun",
        Edit(
            CUSTODY,
            "careful = max(note.in_flight, note.careful, note.suspect, 1 if deaths else 0)",
            "careful = max(note.in_flight, note.careful, 1 if deaths else 0)",
        ),
        *named(TEST_CUSTODY, "a_second_death_soon_after_makes_all_careful_that_may_have_been_begun"),
    ),
    without_broker(
        "waiting-ends-with-the-partition",
        "who waits for leave is told when the partition is gone",
        Edit(
            CUSTODY,
            "        if place.is_dropped:\n            raise Abandoned",
            "        if False:\n            raise Abandoned",
        ),
        *named(TEST_CUSTODY, "who_waits_for_leave_is_told_when_the_partition_is_gone"),
    ),
)

LIVES = (
    without_broker(
        "frozen-process",
        "a process that a library has frozen with Python's lock ends",
        Edit(
            PROCESS,
            "            faulthandler.dump_traceback_later(FROZEN, exit=True, file=_STDERR)",
            "            pass",
        ),
        f"{STANDS_STILL}[frozen]",
    ),
    without_broker(
        "standing-loop",
        "a process whose loop stands still ends, although Python runs",
        Edit(PROCESS, "if self._health.is_turning and time", "if time"),
        f"{STANDS_STILL}[standing]",
    ),
)

GUARDS_OF_TAKING_IN: tuple[Guard, ...] = (*POSITIONS, *LEDGERS, *CUSTODIES, *LIVES)
