"""The catalogue of attacks as data: what is tried, what must come of it, which tests hold it, and what is left open.

`docs/hostile.md` is made from this page (`python -m tests.hostile.cases page`), `make test-hostile` runs the tests that
it names (`… tests`), and `test_cases.py` compares both and looks for every test.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "hostile.md"
INPUT = "tests/hostile/test_input.py"
SANDBOX = "tests/hostile/test_sandbox.py"
WORKSPACE = "tests/hostile/test_workspace.py"
ATTACKS = "tests/adapters/git/test_attacks.py"
COLLECT = "tests/adapters/git/test_collect.py"
CLOSELY = "tests/core/test_read_closely.py"
GUARD = "tests/core/test_patch_guard.py"
MESSAGES = "tests/core/test_messages.py"
RUNNER = "tests/contracts/test_runner.py"
EGRESS = "tests/adapters/runners/test_egress.py"
STREAM = "tests/adapters/logs/test_stream.py"
STORIES = "tests/stories/test_agents.py"
PROMPTS = "tests/stories/test_prompts.py"

PARTS = {
    "A": "Input: what an issue, a comment, a log or a repository tells an agent",
    "C": "Sandbox: what an agent, or what it installs, does where it runs",
    "D": "From the workspace to a commit: what an agent leaves behind",
}


@dataclass(frozen=True)
class Case:
    """One attack. `left`: what is not held, or cannot be tried here, and why."""

    number: str
    attack: str
    outcome: str
    tests: tuple[str, ...]
    left: str = ""


def case(number: str, attack: str, outcome: str, *tests: str, left: str = "") -> Case:
    """`tests` are `file::function`, where the file may be left out if it is the one before."""
    found: list[str] = []
    for one in tests:
        file, _, name = one.rpartition("::")
        found.append(f"{file or found[-1].partition('::')[0]}::{name}")
    return Case(number, attack, outcome, tuple(found), left)


HIDDEN = f"{INPUT}::test_hidden_orders_are_not_told_and_are_flagged"
ANYWHERE = f"{INPUT}::test_a8_a12_orders_anywhere_are_data"
TRAPS = f"{WORKSPACE}::test_d41_to_d51_no_trap_snaps_on_the_way_to_the_forge"
READ = f"{SANDBOX}::test_c27_c28_nothing_secret_is_to_be_read"
REACHED = f"{SANDBOX}::test_c29_c30_c39_nothing_is_reached_and_no_name_is_resolved"
LISTED = f"{SANDBOX}::test_c29_c30_c39_an_allow_list_opens_nothing_but_its_proxy"
NOTHING_RUNS = "No program runs, on the whole way to the forge and in a clone of what was pushed."
MODEL = "Whether a model obeys what it reads is not tested: what it can do when it does is parts C and D."

CASES = (
    case("A1", "A closed HTML comment in an issue.", "Not told; flagged.", HIDDEN),
    case("A2", "An HTML comment that is never closed.", "Not told; flagged.", HIDDEN),
    case("A3", "Text in Unicode tag characters.", "Not told; flagged.", HIDDEN),
    case("A4", "Text in variation selectors.", "Not told; flagged.", HIDDEN),
    case(
        "A5",
        "Words split by zero-width, bidirectional and filler characters.",
        "Whole again; flagged.",
        HIDDEN,
        "::test_a5_words_are_whole_again",
    ),
    case(
        "A6",
        "Link definitions, collapsed sections, pictures, white text, processing instructions.",
        "Only what a person sees is told.",
        HIDDEN,
    ),
    case(
        "A7",
        "A file name with look-alike letters.",
        "It names no file, and may not be written.",
        f"{INPUT}::test_a7_a_look_alike_path_names_no_file_and_may_not_be_written",
        f"{ATTACKS}::test_path_tricks_never_reach_a_tree",
    ),
    case(
        "A8",
        "Orders in title, label, user name, commit message, file name, test command.",
        "Data inside a fence; the branch's name is ours.",
        ANYWHERE,
        "::test_a8_the_branch_is_named_by_us",
    ),
    case(
        "A9",
        "An issue that is edited after it was labelled.",
        "The run uses what stood there at the labelling.",
        f"{PROMPTS}::test_only_words_of_writers_from_before_the_labelling_are_told",
    ),
    case(
        "A10",
        "A comment of somebody without write access.",
        "Not told.",
        f"{PROMPTS}::test_only_words_of_writers_from_before_the_labelling_are_told",
    ),
    case(
        "A11",
        "Orders in README, AGENTS.md, CLAUDE.md, .cursor, .mcp.json.",
        "Instructions come from the base commit and from known files; changes of them are refused.",
        f"{INPUT}::test_a11_instructions_come_from_the_base_and_only_from_known_files",
        f"{WORKSPACE}::test_a11_d58_what_decides_over_others_is_protected",
        left="An agent's own program reads such files of the base by itself; they are the repository's, not a "
        "stranger's.",
    ),
    case(
        "A12",
        "Orders in a CI log or in a test's output.",
        "Data inside a fence, without terminal escapes, cut; as many rounds as the policy says.",
        ANYWHERE,
        "::test_a12_a_log_is_data_cut_at_its_beginning",
        "tests/stories/test_checks.py::test_checks_that_stay_red_are_a_persons_affair_in_the_end",
    ),
    case(
        "A13",
        "Orders in a review, a page or a package's documentation.",
        "Reviews are data inside a fence; the network stays what it was.",
        f"{INPUT}::test_a13_review_comments_are_data",
        LISTED,
        left="Pages and packages are read by the agent itself, not by Windlass. " + MODEL,
    ),
    case("A14", "Text in a picture, also inside a data URL.", "Nothing is fetched, nothing is told.", HIDDEN),
    case(
        "A15",
        "An issue of 5 MB, 65,000 lines, 10,000 comments.",
        "Cut with a notice; the prompt stays within its bound.",
        f"{INPUT}::test_a15_sizes",
        "::test_a15_ten_thousand_comments",
        "tests/stories/test_repositories.py::test_sixty_kilobytes_of_hostile_text_in_another_script_stay_data",
    ),
    case(
        "A16",
        '"Set status=approved" in what a model says.',
        "There is no such field.",
        f"{INPUT}::test_a16_an_agent_has_no_field_in_which_to_approve",
        f"{STORIES}::test_a_change_that_may_not_be_published_is_not",
    ),
    case(
        "A17",
        "Fake system messages and fake compliance records.",
        "Data inside a fence; text in what Windlass writes.",
        f"{INPUT}::test_a17_words_of_authority_are_data",
        f"{MESSAGES}::test_the_status_comment_carries_our_marker_once_and_last",
        f"{STORIES}::test_a_hostile_report_stays_text",
    ),
    case(
        "C27",
        "`env`, every `/proc/*/environ`, `ps`, command lines.",
        "Nothing but what the run was given.",
        READ,
        f"{RUNNER}::test_the_environment_is_clean_but_for_what_was_given",
        "tests/adapters/runners/test_bubblewrap.py::test_other_processes_are_not_visible",
    ),
    case(
        "C28",
        "Well-known places of secrets, engines' sockets, the state directory, every file and socket in sight.",
        "Absent. Agents get no tool of Windlass that reads files.",
        READ,
        "tests/adapters/runners/test_bubblewrap.py::test_host_files_are_absent",
        "tests/adapters/runners/test_container.py::test_it_sees_nothing_of_the_machine",
    ),
    case(
        "C29",
        "Cloud metadata by IPv4 and IPv6, private ranges, names that lead there.",
        "Not reached without a list, nor with one, not even `*`; refusals are on record.",
        REACHED,
        LISTED,
        f"{EGRESS}::test_no_list_opens_the_private_network",
        "::test_in_a_world_of_its_own_public_hosts_are_public_and_names_may_not_lie",
        left="An agent to which the operator gives the whole network (`needs_network` without a list) has the "
        "machine's own, metadata included.",
    ),
    case(
        "C30",
        "A secret in the name that is looked up.",
        "There is no resolver inside; names that are not listed are not looked up outside either.",
        REACHED,
        LISTED,
        left="With the list `*` the proxy looks every name up.",
    ),
    case(
        "C31",
        "Sending data out through a host that is allowed.",
        "Other hosts are refused and on record; what went to an allowed one is on record with its bytes. No credential "
        "of the forge is inside.",
        f"{EGRESS}::test_listed_hosts_are_reached_and_every_decision_is_told",
        "tests/stories/test_egress.py::test_an_agent_reaches_its_hosts_and_what_it_tried_is_on_record",
        READ,
        left="Lists name hosts, not methods and paths: tunnels are not broken open. An allowed host can be told what "
        "the agent has read.",
    ),
    case(
        "C32",
        "A secret in the text of a pull request, a comment, a commit, a file.",
        "Masked, or the change is refused; no link and no picture is live.",
        f"{STORIES}::test_a_credential_of_windlass_that_stands_in_an_issue_or_repository_is_masked_everywhere",
        "::test_a_change_that_would_publish_a_credential_of_windlass_is_refused",
        f"{MESSAGES}::test_a_pull_request_text_is_harmless_whatever_the_strangers_wrote",
    ),
    case(
        "C33",
        "A key printed in base64, hex, reversed, wrapped, coloured in the middle, cut.",
        "Found in each of them.",
        f"{SANDBOX}::test_c33_a_key_is_found_in_every_disguise_it_is_printed_in",
        f"{STREAM}::test_known_values_are_found_in_every_form",
        "::test_a_cut_or_halved_token_is_still_found",
        left="Compressed, encrypted, rotated: not found. With the gateway the agent never has the real key.",
    ),
    case(
        "C34",
        "A key in pieces: across chunks, by turns on standard output and error.",
        "Found.",
        f"{SANDBOX}::test_c34_a_key_in_pieces_on_both_channels_is_found",
        f"{STREAM}::test_no_cut_lets_a_secret_through",
        "::test_the_same_comes_out_however_the_stream_is_cut",
    ),
    case(
        "C35",
        "`setup.py`, test modules, `conftest.py`, a Makefile, npm's postinstall.",
        "Held like the agent: nothing read, reached or written but its own directory.",
        f"{SANDBOX}::test_c35_what_a_package_runs_is_held_like_the_agent",
        "::test_c35_what_the_machines_own_tools_run_is_held_too",
    ),
    case(
        "C36",
        "Poison in the caches of package managers.",
        "Nothing that a run wrote is there for the next one.",
        f"{SANDBOX}::test_c36_no_cache_outlives_the_run",
        left="The caches of GitHub Actions and of image builds belong to the forge: not to be tried here. Windlass "
        "uses neither.",
    ),
    case(
        "C37",
        "Fork bomb, files of 100 GB, endless output, floods of files, a full disk, shared memory, silence.",
        "Limits hold, the run is ended, the runner works on.",
        f"{SANDBOX}::test_c37_a_fork_bomb_meets_its_limit_and_its_end",
        "::test_c37_a_file_of_a_hundred_gigabytes_is_not_made",
        "::test_c37_endless_output_is_cut_and_ended",
        "::test_c37_silence_without_end_is_ended",
        "::test_c37_shared_memory_counts",
        "::test_c37_a_flood_of_files_is_refused_and_removed",
        "tests/adapters/runners/test_space.py::test_a_full_directory_ends_the_run",
    ),
    case(
        "C38",
        "Mounts, namespaces, other processes, devices, kernel settings, handles, keys, modules, the terminal.",
        "Denied, call by call.",
        f"{SANDBOX}::test_c38_no_way_out_is_open",
        "::test_c38_no_terminal_is_at_hand",
        "tests/adapters/runners/test_syscalls.py::test_what_no_namespace_hides_is_refused_and_everything_else_works",
        "tests/adapters/runners/test_bubblewrap.py::test_kernel_settings_cannot_be_written_even_by_root",
        "tests/adapters/runners/test_container.py::test_it_has_no_rights_and_no_way_to_get_any",
        left="Holes of the kernel itself. gVisor and Kata need an engine with their runtimes (and Kata a machine that "
        "may virtualise): not to be tried here.",
    ),
    case(
        "C39",
        "The orchestrator's services: on loopback, the machine's addresses, Unix and abstract sockets; its files.",
        "Not reached, not seen.",
        REACHED,
        LISTED,
        READ,
        "tests/adapters/runners/test_container.py::test_inlets_are_the_only_way_out",
        left="As C29: not with the machine's whole network.",
    ),
    case(
        "C40",
        "A daemon in a session of its own, deaf and unmarked; cron, at, systemd.",
        "Dead before the change is taken, however the run ends; nothing starts it again.",
        f"{SANDBOX}::test_c40_a_daemon_is_dead_before_the_change_is_taken",
        "::test_c40_nothing_starts_it_again",
        f"{RUNNER}::test_a_daemon_is_killed_with_the_run",
    ),
    case("D41", "`core.fsmonitor`.", NOTHING_RUNS, TRAPS),
    case("D42", "Every hook.", NOTHING_RUNS, TRAPS),
    case("D43", "`core.hooksPath` into the tree.", NOTHING_RUNS, TRAPS),
    case(
        "D44",
        "Filters (clean, smudge, process) by `.gitattributes`, `info/attributes`, `core.attributesFile`.",
        NOTHING_RUNS + " New filters are refused.",
        TRAPS,
        f"{GUARD}::test_only_added_filters_are_refused",
    ),
    case("D45", "textconv, `diff.external`, `diff.<d>.command`, merge drivers.", NOTHING_RUNS, TRAPS),
    case(
        "D46",
        "sshCommand, gitProxy, `ext::`, uploadpack, receivepack, insteadOf, credential helpers, askPass, lazy fetches.",
        NOTHING_RUNS,
        TRAPS,
        f"{ATTACKS}::test_the_callers_environment_decides_nothing",
    ),
    case("D47", "`include.path`, `includeIf`, `config.worktree`.", NOTHING_RUNS, TRAPS),
    case(
        "D48",
        "`.git` as a file, as a link.",
        NOTHING_RUNS,
        TRAPS,
        f"{COLLECT}::test_a_root_git_directory_of_the_agent_is_left_out",
    ),
    case(
        "D49",
        "A bare repository among the files.",
        NOTHING_RUNS + " The change is refused, because it would run in the reviewer's hands.",
        TRAPS,
        "::test_d49_a_bare_repository_among_the_files_is_refused",
    ),
    case(
        "D50",
        "A nested repository, a submodule.",
        NOTHING_RUNS + " Refused.",
        TRAPS,
        f"{ATTACKS}::test_submodules_stay_and_are_not_written_to",
    ),
    case("D51", "Alternates, `alternateRefsCommand`; editors, signing, aliases, trailers.", NOTHING_RUNS, TRAPS),
    case(
        "D52",
        "A link out of the repository in a file's place.",
        "Refused; its target is never read.",
        f"{ATTACKS}::test_links_out_are_refused_and_never_followed",
        f"{GUARD}::test_links_out_by_a_chain",
        f"{STORIES}::test_a_change_that_may_not_be_published_is_not",
    ),
    case(
        "D53",
        "A directory that becomes a link between look and read.",
        "Not followed; what cannot be read is refused.",
        f"{WORKSPACE}::test_d53_a_directory_that_is_swapped_all_the_time_is_never_followed",
        f"{ATTACKS}::test_a_directory_swapped_for_a_link_is_not_entered",
    ),
    case(
        "D54",
        "Pipes, sockets, devices, hard links, setuid.",
        "Refused without being opened; rights are not taken over.",
        f"{ATTACKS}::test_pipes_sockets_and_hard_links_are_refused_without_opening",
        "::test_a_device_is_refused",
        f"{WORKSPACE}::test_d54_bits_that_give_rights_are_not_taken",
    ),
    case(
        "D55",
        "`..`, absolute paths, `.git` in disguise, control characters, collisions, paths too long.",
        "Refused.",
        f"{GUARD}::test_path_tricks_are_refused",
        "::test_git_in_disguise",
        "::test_collisions",
        f"{ATTACKS}::test_path_tricks_never_reach_a_tree",
        "::test_case_and_unicode_collisions",
        "::test_a_deep_nest_ends",
    ),
    case(
        "D56",
        "Gitlinks, `.gitmodules` with options or odd line ends.",
        "Refused.",
        f"{WORKSPACE}::test_d56_submodules_are_never_defined",
        f"{GUARD}::test_modes",
        "::test_gitmodules_in_disguise",
    ),
    case(
        "D57",
        "Attributes that hide a diff, leave files out or change their bytes.",
        "What is scanned, tested, shown and committed are the same bytes; new curtains are refused.",
        f"{WORKSPACE}::test_d57_nothing_is_hidden_from_who_scans_and_reviews",
        f"{COLLECT}::test_attributes_change_no_byte",
        f"{CLOSELY}::test_a_curtain_before_a_reviewers_eyes_is_refused",
    ),
    case(
        "D58",
        "Changes of workflows, actions, owners, the policy, agents' instructions; of what else decides.",
        "Refused. Build, CI, package and editor settings are named to the reviewer first.",
        f"{WORKSPACE}::test_a11_d58_what_decides_over_others_is_protected",
        f"{GUARD}::test_built_in_protection",
        f"{ATTACKS}::test_protected_paths_need_the_policy",
        f"{MESSAGES}::test_what_runs_elsewhere_is_named_before_what_the_agent_says",
    ),
    case(
        "D59",
        "Huge diffs, huge files, binaries.",
        "Refused above the policy's limits, and held in memory by none.",
        f"{ATTACKS}::test_bombs_end_at_the_caps",
        "::test_two_big_files_meet_the_total",
        "::test_limits_of_the_policy_refuse_and_keep",
        f"{GUARD}::test_limits",
        left="A small binary or a Trojan horse in plain code passes: that is what the review is for.",
    ),
    case(
        "D60",
        "A lock file with another registry, or another hash for the same version.",
        "Refused. Every change of a lock file is named to the reviewer.",
        f"{CLOSELY}::test_a_package_source_that_was_not_there_is_refused",
        "::test_another_checksum_for_the_same_version_is_refused",
        f"{ATTACKS}::test_what_others_obey_is_read_line_by_line",
        left="A new package is not judged. `protect_paths` refuses lock files where that is wanted.",
    ),
    case(
        "D61",
        "`[skip ci]`, trailers, references to other issues in an agent's title.",
        "Rewritten by us: the checks run, nobody is named, nothing else is closed.",
        f"{WORKSPACE}::test_d61_a_message_does_not_switch_the_checks_off",
        "::test_d61_a_report_does_not_switch_the_checks_off",
        "::test_d61_a_message_has_no_trailer_of_the_agents",
        f"{MESSAGES}::test_a_commit_message_has_a_short_subject_and_only_our_trailers",
    ),
    case(
        "D62",
        "A base branch that is moved by force during a run.",
        "The run stays at the commit where it began.",
        "tests/adapters/git/test_remote.py::test_a_force_moved_base_is_followed_and_the_old_commit_stays",
        "tests/stories/test_repositories.py::test_a_base_that_moves_while_the_agent_works_does_no_harm",
    ),
)

INTRODUCTION = """\
# Hostile agents and hostile input: what is tried against Windlass

`make test-hostile` runs every test that is named here, as part of `make check`. A test plays the attacker with real
parts: sandboxes (each case of part C in bubblewrap and in a container), git, sockets, a proxy. An attack from
inside a sandbox has to say that it came to its end, and a trap for git is sprung by plain git afterwards: no test
passes because its attack does not work.

What is left open stands in the table beside what is held. [Security](security.md) says how it is held. Cases that need
GitHub's own rules, and those of approvals and of the ledger, are not in this suite.
"""


def page() -> str:
    """The documentation's page."""
    parts = [INTRODUCTION]
    for letter, title in PARTS.items():
        rows = [_row(one) for one in CASES if one.number.startswith(letter)]
        head = ["| case | what is tried | what must come of it | held by | left open |", "|---|---|---|---|---|"]
        parts.append("\n".join([f"## {title}", "", *head, *rows, ""]))
    return "\n".join(parts)


def _row(one: Case) -> str:
    held = "<br>".join(f"`{name.removeprefix('tests/').replace('::', ' ')}`" for name in one.tests)
    return f"| {one.number} | {one.attack} | {one.outcome} | {held} | {one.left} |"


def tests() -> list[str]:
    """What `make test-hostile` runs: this directory, and the tests elsewhere that are named."""
    elsewhere = {name for one in CASES for name in one.tests if not name.startswith("tests/hostile/")}
    return ["tests/hostile", *sorted(elsewhere)]


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        PAGE.write_text(page(), "utf-8")
    else:
        print(" ".join(tests()))
