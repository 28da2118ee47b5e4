"""Guards of a delivery: transactions, doubt, fences, bounds and sizes."""

from tests.mutants.guard import (
    DELIVERY,
    GUARDS,
    HOLDING,
    KAFKA_UNIT,
    PLACE,
    UNIT,
    Edit,
    Guard,
    named,
    on_broker,
    without_broker,
)

EXACTLY_ONCE = "consumer/kafka/exactly_once.py"
AT_LEAST_ONCE = "consumer/kafka/at_least_once.py"
VERDICT = "consumer/kafka/verdict.py"
BOUNDED = "consumer/kafka/bounded.py"
DOUBT = "consumer/kafka/doubt.py"
OUTLET = "consumer/kafka/outlet.py"
CLIENT = "consumer/kafka/client.py"
TOPICS = "consumer/kafka/topics.py"
GENERATION = "consumer/kafka/generation.py"
RUNNER = "consumer/runner.py"
MESSAGES = "consumer/messages.py"
DEAD_LETTERS = "consumer/guard.py"

TEST_TRANSACTION = f"{KAFKA_UNIT}/test_exactly_once.py"
TEST_VERDICT = f"{KAFKA_UNIT}/test_verdict.py"
TEST_DOUBT = f"{KAFKA_UNIT}/test_doubt.py"
TEST_OUTLET = f"{KAFKA_UNIT}/test_outlet.py"
TEST_AT_LEAST_ONCE = f"{KAFKA_UNIT}/test_at_least_once.py"
TEST_CLIENT = f"{KAFKA_UNIT}/test_client.py"

HANDED_OVER = f"{DELIVERY}::test_nothing_of_a_partition_is_delivered_after_its_revocation[{PLACE}]"

OWNERSHIP = (
    on_broker(
        "generation",
        "metadata of generation -1 is refused: the broker would take offsets from anybody",
        Edit(EXACTLY_ONCE, "metadata is None or generation_of(bytes(metadata)) < 0:", "metadata is None:"),
        *named(DELIVERY, "a_member_without_a_generation_delivers_nothing"),
    ),
    without_broker(
        "generation-layout",
        "group metadata of an unknown layout is refused",
        Edit(GENERATION, "if not metadata.startswith(_MAGIC) or len(metadata) < len(_MAGIC) + 4:", "if False:"),
        *named(f"{KAFKA_UNIT}/test_generation.py", "an_unknown_layout_is_refused"),
    ),
    without_broker(
        "generation-place",
        "the generation is little-endian",
        Edit(GENERATION, '"<i"', '">i"'),
        *named(f"{KAFKA_UNIT}/test_generation.py", "a_members_generation_is_little_endian"),
    ),
    on_broker(
        "fresh-metadata",
        "the group metadata is read for each try: the broker refuses what is of an old generation",
        Edit(
            EXACTLY_ONCE,
            "metadata = self._source.group_metadata()",
            "metadata = self.__dict__.setdefault('kept', self._source.group_metadata())",
        ),
        *named(DELIVERY, "finished_heads_survive_an_abort_and_are_delivered_once"),
        protocols=("classic",),
    ),
    on_broker(
        "ownership-before-commit",
        "nothing is committed of a partition that went away after its outcomes were produced",
        Edit(
            EXACTLY_ONCE,
            "        if not all(map(self._owns, covered)):\n            raise NotOurs\n        started_at",
            "        started_at",
        ),
        HANDED_OVER,
    ),
    without_broker(
        "ownership-between-repeats",
        "a call is not repeated for what is not ours any more",
        Edit(EXACTLY_ONCE, "            if not all(map(self._owns, covered)):\n                raise NotOurs\n", ""),
        *named(TEST_TRANSACTION, "a_call_is_not_repeated_for_what_is_not_ours_any_more"),
    ),
    on_broker(
        "abort-of-what-is-not-ours",
        "a transaction over what is not ours is aborted",
        Edit(
            EXACTLY_ONCE,
            "        except NotOurs:\n            settle = self._abort",
            "        except NotOurs:\n            return NOTHING",
        ),
        *named(TEST_TRANSACTION, "what_is_not_ours_is_aborted"),
        HANDED_OVER,
    ),
    Guard(
        "delivering-flag",
        "a revocation inside a delivery delivers nothing by itself",
        (
            Edit(RUNNER, "if not self._is_delivering and self._may_hand_over:", "if self._may_hand_over:"),
            Edit(EXACTLY_ONCE, " or bool(self._unsettled)", ""),
        ),
        (HANDED_OVER,),
    ),
    on_broker(
        "deliver-on-revocation",
        "what is finished is delivered when its partition is revoked, and not done again by the next owner",
        Edit(RUNNER, "                if heads or notes:", "                if False:"),
        *named(DELIVERY, "finished_heads_are_delivered_when_their_partition_is_revoked"),
    ),
    on_broker(
        "drop-on-revocation",
        "what a revoked partition still holds is dropped",
        Edit(RUNNER, '        self._drop(partitions)\n        self._count("revoked"', '        self._count("revoked"'),
        HANDED_OVER,
    ),
    on_broker(
        "lost-delivers-nothing",
        "of a lost partition nothing is delivered",
        Edit(
            RUNNER,
            '        self._drop(partitions)\n        self._count("lost"',
            '        self.revoked(partitions)\n        self._count("lost"',
        ),
        *named(GUARDS, "finished_work_of_a_lost_partition_is_not_delivered_although_the_broker_would_take_it"),
    ),
)

ABORTS = (
    on_broker(
        "heads-kept-through-an-abort",
        "after an abort the finished heads stay and are delivered again",
        Edit(
            EXACTLY_ONCE,
            "        settle()\n        return NOTHING",
            "        settle()\n        return Delivered(offsets, tuple(notes))",
        ),
        *named(DELIVERY, "a_member_without_a_generation_delivers_nothing"),
    ),
    without_broker(
        "abort-when-asked",
        "an error that asks for an abort gets one",
        Edit(VERDICT, "if error.txn_requires_abort():", "if False:"),
        *named(TEST_VERDICT, "what_asks_for_an_abort_gets_one"),
        *named(TEST_TRANSACTION, "what_asks_for_an_abort_gets_one_and_the_next_try_needs_no_other_producer"),
    ),
    without_broker(
        "no-abort-after-a-time-out",
        "a call that timed out is repeated",
        Edit(VERDICT, "        return Verdict.REPEAT", "        return Verdict.ABORT"),
        *named(TEST_VERDICT, "a_call_that_timed_out_is_repeated_and_never_aborted"),
    ),
    without_broker(
        "no-abort-after-the-last-repeat",
        "a commit that was given up without an answer is not aborted either",
        Edit(EXACTLY_ONCE, "            case Verdict.ABORT:", "            case Verdict.ABORT | Verdict.REPEAT:"),
        *named(TEST_TRANSACTION, "a_commit_without_an_answer_is_never_aborted_and_asked_for_before_the_next_begin"),
    ),
    without_broker(
        "fatal",
        "a fatal error costs the producer, whatever else it claims",
        Edit(VERDICT, "    if error.fatal():\n        return Verdict.REPLACE\n", ""),
        *named(TEST_VERDICT, "what_is_fatal_is_replaced_even_when_it_claims_to_be_retriable"),
    ),
    without_broker(
        "unclassified",
        "what is not classified is in doubt",
        Edit(
            VERDICT,
            "        return Verdict.REPEAT\n    return Verdict.REPLACE",
            "        return Verdict.REPEAT\n    return Verdict.ABORT",
        ),
        *named(TEST_VERDICT, "what_is_not_classified_is_in_doubt"),
    ),
)

FENCES = (
    without_broker(
        "fence-or-time-out",
        "a fence on a young transaction is another process, on an old one the time-out",
        Edit(VERDICT, "if open_for > transaction_timeout / 2", "if open_for >= 0"),
        *named(TEST_VERDICT, "a_fence_on_a_young_transaction_is_another_process_and_on_an_old_one_the_time_out"),
    ),
    on_broker(
        "fence-ends-the-process",
        "another process with the slot ends this one",
        Edit(EXACTLY_ONCE, "if self._judge(error) is Verdict.FENCED or now", "if now"),
        *named(DELIVERY, "another_process_with_the_slot_ends_this_one_and_is_named"),
    ),
    on_broker(
        "time-out-is-survived",
        "a transaction that may have timed out ends nothing",
        Edit(
            VERDICT,
            "return Verdict.REPLACE if open_for > transaction_timeout / 2 else Verdict.FENCED",
            "return Verdict.FENCED",
        ),
        *named(DELIVERY, "a_transaction_that_may_have_timed_out_is_survived_once_a_minute"),
    ),
    on_broker(
        "second-fence",
        "a second fence within a minute ends the process, old transaction or not",
        Edit(EXACTLY_ONCE, " or now - self._fenced_at < FENCE_MEMORY:", ":"),
        *named(DELIVERY, "a_transaction_that_may_have_timed_out_is_survived_once_a_minute"),
    ),
)

IN_DOUBT = (
    without_broker(
        "doubt-error-callback",
        "an error of the producer's connections puts it in doubt",
        Edit(
            EXACTLY_ONCE,
            '{"error_cb": self._doubt.on_error, "stats_cb": self._doubt.on_statistics}',
            '{"stats_cb": self._doubt.on_statistics}',
        ),
        *named(TEST_TRANSACTION, "a_connection_that_broke_puts_its_producer_in_doubt_whichever_callback_tells"),
    ),
    without_broker(
        "doubt-statistics-callback",
        "retried requests and lost connections in the statistics put it in doubt",
        Edit(
            EXACTLY_ONCE,
            '{"error_cb": self._doubt.on_error, "stats_cb": self._doubt.on_statistics}',
            '{"error_cb": self._doubt.on_error}',
        ),
        *named(TEST_TRANSACTION, "a_connection_that_broke_puts_its_producer_in_doubt_whichever_callback_tells"),
    ),
    without_broker(
        "doubt-errors",
        "errors of the wire are among the signs",
        Edit(DOUBT, "if error.code() in _WIRE:", "if False:"),
        *named(TEST_DOUBT, "trouble_on_the_wire_is_a_reason"),
    ),
    without_broker(
        "doubt-counters",
        "each of the two counters is among the signs",
        Edit(DOUBT, "broker.req_timeouts + broker.disconnects", "broker.disconnects"),
        *named(TEST_DOUBT, "a_counter_that_rises_on_any_broker_is_a_reason"),
    ),
    without_broker(
        "doubt-slow",
        "a commit of over a second is among the signs",
        Edit(DOUBT, "if seconds > SLOW_COMMIT:", "if False:"),
        *named(TEST_DOUBT, "a_slow_commit_is_a_reason"),
    ),
    on_broker(
        "doubt-slow-commit",
        "how long each commit took is told",
        Edit(EXACTLY_ONCE, "        self._doubt.on_commit(time.monotonic() - started_at)\n", ""),
        *named(GUARDS, "after_a_slow_commit_another_producer_makes_the_next_one"),
    ),
    without_broker(
        "doubt-repeated-call",
        "a call that was repeated puts the producer in doubt",
        Edit(EXACTLY_ONCE, '            self._doubt.mark(f"a call was repeated after {cause.name()}")\n', ""),
        *named(TEST_TRANSACTION, "a_call_that_was_repeated_puts_its_producer_in_doubt"),
    ),
    without_broker(
        "doubt-is-heard",
        "the producer's callbacks are served before it is judged",
        Edit(
            EXACTLY_ONCE,
            "        self._live.poll(0)\n        while not",
            "        while not",
        ),
        *named(TEST_TRANSACTION, "a_connection_that_broke_puts_its_producer_in_doubt_whichever_callback_tells"),
    ),
    without_broker(
        "doubt-in-time",
        "nothing is begun before the statistics are younger than the last end",
        Edit(DOUBT, 'begin."""\n        self.is_up_to_date = False\n', 'begin."""\n'),
        *named(TEST_TRANSACTION, "a_connection_lost_under_the_end_of_a_transaction_is_known_of_before_the_next_begin"),
    ),
    without_broker(
        "doubt-after-an-abort",
        "the end of an aborted transaction counts as one",
        Edit(
            EXACTLY_ONCE,
            "            self._repeat(self._live.abort_transaction)\n            self._note_end()\n",
            "            self._repeat(self._live.abort_transaction)\n",
        ),
        *named(TEST_TRANSACTION, "a_connection_lost_under_the_end_of_a_transaction_is_known_of_before_the_next_begin"),
    ),
    without_broker(
        "doubt-without-statistics",
        "a producer that tells nothing is in doubt",
        Edit(EXACTLY_ONCE, 'self._doubt.mark("no statistics")', "return"),
        *named(TEST_TRANSACTION, "a_producer_that_tells_nothing_begins_nothing"),
    ),
    without_broker(
        "bounded-send-offsets",
        "a call that does not keep its time-out is left behind",
        Edit(EXACTLY_ONCE, 'call_within(timeout, call, name="send-offsets")', "call()"),
        *named(TEST_TRANSACTION, "a_call_that_never_comes_back_ends_the_delivery"),
    ),
    without_broker(
        "errors-keep-no-producer",
        "what a call in its thread raised does not keep the producer, which would gather statistics",
        Edit(BOUNDED, "error.with_traceback(None)", "error"),
        *named(f"{KAFKA_UNIT}/test_bounded.py", "a_call_that_came_back_too_late_keeps_its_client_no_longer"),
    ),
    without_broker(
        "errors-keep-no-call",
        "nor does the frame that waited for it",
        Edit(BOUNDED, "    finally:\n        del call, answer", "    finally:\n        pass"),
        *named(f"{KAFKA_UNIT}/test_bounded.py", "a_call_that_came_back_keeps_its_client_no_longer"),
    ),
    without_broker(
        "held-for-ever",
        "a transactional id that the broker does not let go of ends the process",
        Edit(EXACTLY_ONCE, "        if now - self._held_since > FREED_WITHIN:", "        if False:"),
        *named(
            f"{KAFKA_UNIT}/test_error_table.py",
            "a_transactional_id_that_the_broker_does_not_let_go_of_ends_the_process",
        ),
    ),
    without_broker(
        "no-call-while-an-error-is-handled",
        "the client is asked for nothing while an error is handled: what it raises then keeps that error, and so "
        "the producer",
        Edit(
            EXACTLY_ONCE,
            "            settle = partial(self._settle, error.args[0], heads, outlet)",
            "            self._settle(error.args[0], heads, outlet)\n            return NOTHING",
        ),
        *named(
            f"{KAFKA_UNIT}/test_error_table.py",
            "a_producer_whose_abort_was_not_answered_at_once_ends_when_it_is_replaced[22]",
        ),
    ),
    on_broker(
        "replacement-after-doubt",
        "a producer in doubt begins no other transaction",
        Edit(EXACTLY_ONCE, "        self._stale = self._stale or self._doubt.reason\n", ""),
        *named(DELIVERY, "doubt_that_is_learned_late_replaces_the_producer_before_the_next_begin"),
    ),
    on_broker(
        "replacement-after-a-late-request",
        "a producer in doubt begins no other transaction, or an EndTxn that was held up ends the wrong one",
        Edit(EXACTLY_ONCE, "        self._stale = self._stale or self._doubt.reason\n", ""),
        "tests/integration/test_late_requests.py"
        "::test_a_late_request_of_one_transaction_does_nothing_to_the_next[commit-False]",
    ),
    on_broker(
        "reconciliation",
        "what became of an unanswered delivery is asked before the next one begins",
        Edit(
            EXACTLY_ONCE,
            "        return {partition: offset for partition, offset in answers.items() if offset is not None}",
            "        return {}",
        ),
        *named(GUARDS, "a_commit_whose_answer_is_lost_is_asked_for_and_not_made_again"),
    ),
    without_broker(
        "reconciliation-is-awaited",
        "while the group does not say what was committed nothing is begun",
        Edit(EXACTLY_ONCE, " or bool(self._unsettled)", ""),
        *named(TEST_TRANSACTION, "while_the_group_does_not_say_what_was_committed_nothing_is_begun"),
    ),
    without_broker(
        "reconciliation-is-complete",
        "partitions that gave no answer are asked for again",
        Edit(EXACTLY_ONCE, "self._unsettled -= answers.keys()", "self._unsettled.clear()"),
        *named(TEST_TRANSACTION, "while_the_group_does_not_say_what_was_committed_nothing_is_begun"),
    ),
    on_broker(
        "unsettled-is-noted",
        "a delivery is unsettled from its begin on",
        Edit(EXACTLY_ONCE, "        self._unsettled = set(offsets)\n", ""),
        *named(GUARDS, "a_commit_whose_answer_is_lost_is_asked_for_and_not_made_again"),
    ),
    on_broker(
        "fenced-before-reconciliation",
        "nothing is asked before the old producer is known to be fenced",
        Edit(
            EXACTLY_ONCE,
            "        if self._stale is not None:\n            return {}  # until",
            "        if False:\n            return {}  # until",
        ),
        *named(DELIVERY, "nothing_is_reconciled_before_the_old_producer_is_known_to_be_fenced"),
    ),
    on_broker(
        "no-question-in-a-callback",
        "a rebalance callback asks nothing and replaces nothing",
        Edit(
            EXACTLY_ONCE,
            "return Delivered(self._renew()) if within is None else NOTHING",
            "return Delivered(self._renew())",
        ),
        *named(
            DELIVERY,
            "a_rebalance_callback_asks_nothing_and_delivers_nothing_while_the_last_delivery_is_in_doubt",
        ),
    ),
    on_broker(
        "bounded-revocation",
        "the delivery of a revocation is bounded",
        Edit(RUNNER, "self._deliver(heads, notes, within=REVOCATION_TIME)", "self._deliver(heads, notes)"),
        *named(
            DELIVERY,
            "a_rebalance_callback_asks_nothing_and_delivers_nothing_while_the_last_delivery_is_in_doubt",
        ),
    ),
    without_broker(
        "replacement-after-a-refusal",
        "a producer whose record was refused is out of sequence and goes",
        Edit(EXACTLY_ONCE, '            self._stale = "a record was refused"\n', "            pass\n"),
        *named(TEST_TRANSACTION, "a_record_that_was_refused_costs_its_producer_which_is_out_of_sequence"),
    ),
    without_broker(
        "notes-go-with-all-heads",
        "a note stands behind all the heads: while they are tried one by one it stays",
        Edit(EXACTLY_ONCE, "notes if len(selected) == len(heads) else ()", "notes"),
        *named(TEST_TRANSACTION, "while_heads_are_tried_one_by_one_no_note_goes_with_them"),
    ),
    without_broker(
        "replacements-are-counted",
        "producers that help nobody are not replaced for ever",
        Edit(EXACTLY_ONCE, "if self._replacements >= MOST_REPLACEMENTS:", "if False:"),
        *named(TEST_TRANSACTION, "producers_that_help_nobody_come_ever_later_and_not_for_ever"),
    ),
    without_broker(
        "replacements-are-spaced",
        "one replacement after the other waits ever longer",
        Edit(EXACTLY_ONCE, "        if time.monotonic() < self._not_before:\n            return NOTHING\n", ""),
        *named(TEST_TRANSACTION, "producers_that_help_nobody_come_ever_later_and_not_for_ever"),
    ),
)

BOUNDS = (
    without_broker(
        "call-of-two-seconds",
        "no call of the thread that owns the clients blocks for over 2 s",
        Edit(CLIENT, "CALL_TIMEOUT = 2.0", "CALL_TIMEOUT = 60.0"),
        *named(TEST_TRANSACTION, "no_call_may_block_for_over_two_seconds_and_between_repeats_the_membership_is_kept"),
    ),
    without_broker(
        "longest-call",
        "a call is not repeated for ever",
        Edit(EXACTLY_ONCE, " or time.monotonic() > until:", ":"),
        *named(TEST_TRANSACTION, "a_call_that_is_never_answered_is_given_up_so_that_the_producer_can_be_replaced"),
    ),
    without_broker(
        "pump-between-repeats",
        "between repeats the group membership is kept",
        Edit(EXACTLY_ONCE, "            if self._patience is None:\n                self._pump(describe(cause))\n", ""),
        *named(TEST_TRANSACTION, "no_call_may_block_for_over_two_seconds_and_between_repeats_the_membership_is_kept"),
    ),
    without_broker(
        "no-pump-in-a-callback",
        "inside a rebalance callback nothing is polled",
        Edit(
            EXACTLY_ONCE,
            "            if self._patience is None:\n                self._pump",
            "            if True:\n                self._pump",
        ),
        *named(TEST_TRANSACTION, "inside_a_callback_a_call_has_the_time_that_is_left_and_nothing_is_pumped"),
    ),
    without_broker(
        "time-in-a-callback",
        "inside a rebalance callback a delivery ends in time",
        Edit(EXACTLY_ONCE, "        if left <= 0:\n            raise OutOfTime\n", ""),
        *named(TEST_TRANSACTION, "inside_a_callback_a_call_has_the_time_that_is_left_and_nothing_is_pumped"),
    ),
    without_broker(
        "transaction-timeout",
        "a dead owner's transaction is over after 12 s",
        Edit(CLIENT, "TRANSACTION_TIMEOUT = 12.0", "TRANSACTION_TIMEOUT = 60.0"),
        *named(TEST_TRANSACTION, "a_dead_owners_transaction_holds_its_partitions_for_twelve_seconds_at_most"),
    ),
    on_broker(
        "pumped-records",
        "a record that comes while a call is repeated is taken in",
        Edit(RUNNER, "self._take_in(self._source.pump())", "self._source.pump()"),
        *named(GUARDS, "a_record_that_comes_while_a_call_is_repeated_is_done_too"),
    ),
    on_broker(
        "paused-while-repeating",
        "while a call is repeated nothing is fetched",
        Edit("consumer/kafka/source.py", "        self.pause(self._owned)\n        messages", "        messages"),
        *named(GUARDS, "nothing_is_fetched_while_a_call_is_repeated_and_all_flows_again_after_it"),
    ),
)

ORDER = (
    on_broker(
        "last-plus-one",
        "the offset of a delivery is the last one's plus 1",
        Edit(
            EXACTLY_ONCE,
            "{head.partition: head.offset + 1 for head in heads}",
            "{head.partition: head.offset for head in heads}",
        ),
        *named(DELIVERY, "outcomes_and_offsets_become_visible_together"),
    ),
    without_broker(
        "last-plus-one-at-least-once",
        "and so it is with at_least_once",
        Edit(AT_LEAST_ONCE, "offsets[head.partition] = head.offset + 1", "offsets[head.partition] = head.offset"),
        *named(TEST_AT_LEAST_ONCE, "nothing_behind_an_outcome_that_did_not_get_out_is_committed"),
    ),
    on_broker(
        "one-transaction",
        "outcomes and offsets go together",
        Edit(EXACTLY_ONCE, "            self._send_offsets(offsets, covered)\n", ""),
        *named(DELIVERY, "outcomes_and_offsets_become_visible_together"),
    ),
    without_broker(
        "offset-order",
        "outcomes are produced in offset order",
        Edit(
            OUTLET,
            "        for head in heads:\n            for index, message in enumerate(head.outcomes):",
            "        for head in reversed(heads):\n            for index, message in enumerate(head.outcomes):",
        ),
        *named(TEST_OUTLET, "outcomes_of_one_partition_stay_in_one_partition_in_order"),
    ),
    without_broker(
        "order-in-a-record",
        "outcomes of one record are produced in the order of its jobs",
        Edit(OUTLET, "enumerate(head.outcomes):", "reversed([*enumerate(head.outcomes)]):"),
        *named(TEST_OUTLET, "outcomes_of_one_partition_stay_in_one_partition_in_order"),
    ),
    without_broker(
        "output-partition",
        "the output partition is the input partition modulo the output's count",
        Edit(
            OUTLET,
            "partition=head.partition % partitions,",
            "partition=hash((head.partition, head.offset)) % partitions,",
        ),
        *named(TEST_OUTLET, "outcomes_of_one_partition_stay_in_one_partition_in_order"),
    ),
    on_broker(
        "fixed-partition-count",
        "partitions that are added to an output while running change nothing",
        Edit(
            OUTLET,
            "        produce = partial(\n",
            "        partitions = len(self._producer.list_topics(topic, timeout=5).topics[topic].partitions)\n"
            "        produce = partial(\n",
        ),
        *named(
            DELIVERY,
            "outcomes_of_more_partitions_than_the_output_has_go_round_and_stay_there_while_partitions_are_added",
        ),
    ),
    without_broker(
        "contiguous-at-least-once",
        "nothing behind an outcome that did not get out is committed",
        Edit(AT_LEAST_ONCE, "                stopped.add(head.partition)", "                pass"),
        *named(TEST_AT_LEAST_ONCE, "nothing_behind_an_outcome_that_did_not_get_out_is_committed"),
    ),
    without_broker(
        "reported-good-at-least-once",
        "what was not reported good is not out",
        Edit(AT_LEAST_ONCE, "head for head in heads if head not in outlet.failed)", "heads)"),
        *named(TEST_AT_LEAST_ONCE, "nothing_behind_an_outcome_that_did_not_get_out_is_committed"),
    ),
    without_broker(
        "answer-at-least-once",
        "a refused commit is sent again",
        Edit(AT_LEAST_ONCE, "if answer[0] is not None:", "if False:"),
        *named(TEST_AT_LEAST_ONCE, "a_refused_commit_is_sent_again_and_the_outcomes_are_not"),
    ),
    Guard(
        "ownership-at-least-once",
        "at_least_once commits nothing of a partition that went away",
        (
            Edit(AT_LEAST_ONCE, "{head for head in self._produced if self._owns(head)}", "set(self._produced)"),
            Edit(
                AT_LEAST_ONCE,
                "if head not in self._produced or not self._owns(head):",
                "if head not in self._produced:",
            ),
        ),
        (
            *named(TEST_AT_LEAST_ONCE, "outcomes_of_a_partition_that_went_away_are_not_committed"),
            *named(DELIVERY, "at_least_once_commits_nothing_of_a_partition_that_went_away"),
        ),
    ),
)

SETTINGS = (
    on_broker(
        "read-committed",
        "records of open and aborted transactions are not read",
        Edit(CLIENT, '"isolation.level": "read_committed",', '"isolation.level": "read_uncommitted",'),
        f"{DELIVERY}::test_until_caught_up_ends_behind_the_markers_of_transactions[{PLACE}]",
    ),
    without_broker(
        "read-committed-is-forced",
        "no setting may change that",
        Edit("consumer/settings.py", '    "isolation.level": None,\n', ""),
        *named(TEST_CLIENT, "what_the_promises_rest_on_may_not_be_set"),
    ),
    on_broker(
        "stable-offsets",
        "offsets that an open transaction may change are not taken for true",
        Edit(
            TOPICS,
            "consumer_properties(settings) | quiet",
            'consumer_properties(settings) | quiet | {"isolation.level": "read_uncommitted"}',
        ),
        *named(DELIVERY, "unstable_offsets_hold_their_own_partition_alone"),
    ),
    without_broker(
        "no-auto-commit",
        "librdkafka commits nothing by itself",
        Edit(CLIENT, '"enable.auto.commit": False,', '"enable.auto.commit": True,'),
        *named(TEST_CLIENT, "the_consumer_never_moves_its_offsets_by_itself"),
    ),
    without_broker(
        "no-auto-store",
        "librdkafka stores no offset by itself",
        Edit(CLIENT, '"enable.auto.offset.store": False,', '"enable.auto.offset.store": True,'),
        *named(TEST_CLIENT, "the_consumer_never_moves_its_offsets_by_itself"),
    ),
    without_broker(
        "idempotence",
        "the producer is idempotent",
        Edit(CLIENT, '"enable.idempotence": True,', '"enable.idempotence": False,'),
        *named(TEST_CLIENT, "the_producer_is_idempotent_and_bounded"),
    ),
    without_broker(
        "keys-of-the-protocol",
        "with KIP-848 the three keys of the classic protocol are left out",
        Edit(CLIENT, 'if settings.kafka.group_protocol == "classic":', "if True:"),
        *named(TEST_CLIENT, "with_the_new_protocol_the_session_is_the_brokers"),
    ),
)

SIZES = (
    on_broker(
        "dead-letter-margin",
        "dead letters must be allowed what jobs are and 64 KiB",
        Edit(TOPICS, "bytes_ >= job_bytes + DEAD_LETTER_MARGIN:", "bytes_ >= 0:"),
        *named(DELIVERY, "dead_letters_that_could_not_hold_a_job_are_refused"),
        protocols=("classic",),
    ),
    without_broker(
        "result-too-large",
        "a result over its topic's limit is a dead letter before it is produced",
        Edit(MESSAGES, "if message.size <= max_result_bytes:", "if True:"),
        *named(f"{UNIT}/test_messages.py", "a_result_over_its_topics_limit_becomes_a_dead_letter_with_the_whole_job"),
    ),
    without_broker(
        "dead-letter-without-value",
        "a dead letter that does not fit goes without its value",
        Edit(
            MESSAGES,
            "if letter.has_value and (max_bytes is None or message.size <= max_bytes):",
            "if letter.has_value:",
        ),
        *named(f"{UNIT}/test_messages.py", "an_oversized_dead_letter_goes_without_its_value_and_says_so"),
    ),
    on_broker(
        "refused-result",
        "a result that the broker refuses becomes a dead letter and holds nobody up",
        Edit(
            EXACTLY_ONCE,
            "            self._exchange(head, outlet.refused_job(head), describe(outlet.failed[head]))",
            "            pass",
        ),
        f"{DELIVERY}::test_a_refused_result_becomes_a_dead_letter_and_its_neighbours_are_delivered[exactly_once]",
    ),
    without_broker(
        "refused-alone",
        "only the one that is refused alone is at fault",
        Edit(
            OUTLET,
            "        if len(heads) == 1:\n            return refused[0]\n        self._refusals",
            "        return refused[0]\n        self._refusals",
        ),
        *named(TEST_OUTLET, "the_one_that_is_refused_alone_is_at_fault"),
    ),
    on_broker(
        "batch-size",
        "a batch of outcomes fits the topic's limit",
        Edit(EXACTLY_ONCE, '            "batch.size": topics.max_batch_bytes,\n', ""),
        *named(DELIVERY, "many_small_results_fit_a_topic_with_a_small_limit"),
        protocols=("classic",),
    ),
    on_broker(
        "dead-letter-guard",
        "too many dead letters hold the process before they are delivered",
        Edit(
            RUNNER,
            "            self._guard.check(message.reason for head in heads for message in head.outcomes)",
            "            pass",
        ),
        *named(GUARDS, "too_many_dead_letters_hold_what_is_finished_and_all_behind_it"),
        protocols=("classic",),
    ),
    without_broker(
        "dead-letter-run",
        "so many dead letters in a row hold the process",
        Edit(DEAD_LETTERS, "if self._run and self._in_a_row >= self._run:", "if False:"),
        *named(f"{UNIT}/test_guard.py", "as_many_dead_letters_in_a_row_as_the_limit_says_hold_the_process"),
    ),
    without_broker(
        "dead-letter-ratio",
        "so many dead letters among the last ones hold the process",
        Edit(DEAD_LETTERS, "failed > self._ratio * len(self._window)", "False"),
        *named(f"{UNIT}/test_guard.py", "exactly_the_ratio_is_allowed_and_one_more_is_not"),
    ),
    on_broker(
        "held-is-held",
        "a process that holds delivers nothing more",
        Edit(RUNNER, "if self._is_held or not (heads or notes)", "if not (heads or notes)"),
        *named(GUARDS, "too_many_dead_letters_hold_what_is_finished_and_all_behind_it"),
        protocols=("classic",),
    ),
    on_broker(
        "drain-begins-nothing",
        "a process that is asked to stop begins nothing more",
        Edit(RUNNER, "if self._drain_until is None and not self._is_held:", "if not self._is_held:"),
        *named(GUARDS, "what_comes_while_it_drains_is_not_begun"),
        protocols=("classic",),
    ),
    on_broker(
        "drain-finishes",
        "and finishes what is in hand",
        Edit(RUNNER, "            self._drain()\n", ""),
        *named(GUARDS, "a_stop_finishes_what_is_in_hand_and_begins_nothing_more"),
        protocols=("classic",),
    ),
    on_broker(
        "fatal-delivers-nothing",
        "a process that must end delivers nothing on its way out",
        Edit(RUNNER, "self._may_hand_over = self._is_held", "pass"),
        *named(GUARDS, "a_process_that_must_end_delivers_nothing_on_its_way_out"),
    ),
    without_broker(
        "doubt-from-begin",
        "what is lost while the id is registered is no doubt of what comes after",
        Edit(DOUBT, "        self.reason = None\n        self._counted = None\n", "        self.reason = None\n"),
        f"{TEST_DOUBT}::test_what_was_lost_before_the_start_is_none",
    ),
    without_broker(
        "doubt-of-the-gone",
        "a broker that is gone from the statistics, with what it had counted, is among the signs",
        Edit(DOUBT, "self._counted.keys() - counted.keys()", "set[str]()"),
        f"{TEST_DOUBT}::test_a_broker_that_is_gone_with_its_counters_is_a_reason",
    ),
    without_broker(
        "let-go-tells",
        "a producer that is let go is told of its records, which hold it",
        Edit(OUTLET, "        producer.poll(0)  # what was purged is told, and forgotten", "        pass"),
        f"{TEST_OUTLET}::test_a_producer_that_is_let_go_with_records_on_their_way_ends",
    ),
    on_broker(
        "tended-when-idle",
        "a producer is served while nothing is delivered: its statistics would fill the memory",
        Edit(RUNNER, "        self._delivery.tend()\n", ""),
        *named(DELIVERY, "a_member_that_has_nothing_to_deliver_serves_its_producer_else_its_statistics_pile_up"),
        protocols=("classic",),
    ),
    without_broker(
        "tended-when-left-behind",
        "a producer in a call that does not come back is served too",
        Edit(EXACTLY_ONCE, "        self._left_behind.append((overrun.answer, self._live))\n", ""),
        f"{TEST_TRANSACTION}::test_callbacks_of_a_producer_that_was_left_behind_are_served_until_its_call_comes_back",
    ),
    on_broker(
        "hold-hands-over",
        "a process that holds for its dead letters did not die: the next owner goes on at full speed",
        Edit(RUNNER, "finished = [] if self._is_held else self._ledger", "finished = self._ledger"),
        *named(HOLDING, "too_many_dead_letters_hold_the_process_until_a_person_restarts_it"),
        protocols=("classic",),
    ),
)

GUARDS_OF_DELIVERING: tuple[Guard, ...] = (
    *OWNERSHIP, *ABORTS, *FENCES, *IN_DOUBT, *BOUNDS, *ORDER, *SETTINGS, *SIZES,
)  # fmt: skip
