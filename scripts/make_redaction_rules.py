"""Makes `src/windlass/adapters/logs/rules.json` from a gitleaks configuration file.

    python scripts/make_redaction_rules.py gitleaks.toml --version v8.30.1 --commit SHA

Kept of every rule that has a pattern: id, pattern, keywords, entropy, secret group, and the allowances that look at
the text. Left out: rules and allowances that look at paths (a log has none), and multi-line allowances. Every pattern
is compiled with RE2, as it will be at run time; one that does not compile stops the script.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import re2

TARGET = Path(__file__).resolve().parents[1] / "src/windlass/adapters/logs/rules.json"
# A private key is found by its own code over many lines; the other two say what is allowed over many lines.
LEFT_OUT = {"private-key", "kubernetes-secret-yaml"}


def main() -> None:
    """Read, choose, try, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--commit", required=True)
    given = parser.parse_args()
    document = tomllib.loads(given.source.read_text())
    everywhere = document.get("allowlist", {})
    made = {
        "source": "https://github.com/gitleaks/gitleaks (config/gitleaks.toml)",
        "version": given.version,
        "commit": given.commit,
        "license": "MIT, Copyright (c) 2019 Zachary Rice; see rules.LICENSE",
        "allowed": {"regexes": everywhere.get("regexes", []), "stopwords": everywhere.get("stopwords", [])},
        "rules": [chosen(rule) for rule in document["rules"] if "regex" in rule and rule["id"] not in LEFT_OUT],
    }
    for pattern in patterns(made):
        re2.compile(pattern)
    TARGET.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    print(f"{len(made['rules'])} rules written to {TARGET}")


def chosen(rule: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one rule."""
    allowed = [
        {"target": a.get("regexTarget", "secret"), "regexes": a.get("regexes", []), "stopwords": a.get("stopwords", [])}
        for a in rule.get("allowlists", [])
        if "paths" not in a
    ]
    return {
        "id": rule["id"],
        "regex": rule["regex"],
        "keywords": sorted({word.lower() for word in rule["keywords"]}),
        "entropy": rule.get("entropy", 0),
        "group": rule.get("secretGroup", 0),
        "allowed": allowed,
    }


def patterns(made: dict[str, Any]) -> list[str]:
    """Every pattern in the document."""
    found = list(made["allowed"]["regexes"])
    for rule in made["rules"]:
        found.append(rule["regex"])
        for allowed in rule["allowed"]:
            found += allowed["regexes"]
    return found


if __name__ == "__main__":
    main()
