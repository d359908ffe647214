"""Read the documents as their readers meet them: pages, sections, tables, links, blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """One Markdown file, by its path below the repository's root."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return FENCED.sub("", self.text)

    @property
    def anchors(self) -> set[str]:
        """What a link to a part of the page may have behind the #, by GitHub's rule."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}

    @property
    def links(self) -> list[str]:
        """The targets of its links, in order, images' included."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    @property
    def linked_documents(self) -> set[Path]:
        """The Markdown files that it links to."""
        paths = {link.partition("#")[0] for link in self.links if not link.startswith("https:")}
        return {(self.path.parent / path).resolve() for path in paths if path.endswith(".md")}

    @property
    def openings(self) -> list[tuple[str, str]]:
        """Of each block of code the line before it, and its language."""
        fences = re.findall(r"^(.*)\n```(.*)\n(?:.*\n)*?```$", self.text, re.MULTILINE)
        return [(before, language) for before, language in fences]

    @property
    def blocks(self) -> dict[str, str]:
        """The blocks of code that are run, by name."""
        marked = r"<!-- run: ([\w-]+) -->\n```\w+\n(.*?)```\n"
        return dict(re.findall(marked, self.text, re.DOTALL))

    def section(self, title: str) -> str:
        """The text under a heading, up to the next one of the same level."""
        _, found, rest = self.text.partition(f"\n## {title}\n")
        assert found, f"{self.name} has no section {title!r}"
        return rest.partition("\n## ")[0]

    def rows(self, title: str) -> list[str]:
        """The rows of a section's tables that begin with a name in backticks."""
        return [line for line in self.section(title).splitlines() if line.startswith("| `")]


def _documents(pattern: str) -> list[Document]:
    return [Document(str(path.relative_to(ROOT))) for path in sorted(ROOT.glob(pattern))]


README = Document("README.md")
PAGES = _documents("docs/*.md")
"""One for each question of a reader."""
DOCUMENTS = [*_documents("*.md"), *_documents("docs/**/*.md")]
"""All of them."""
GUIDES = [README, Document("CONTRIBUTING.md"), *_documents("docs/**/*.md")]
"""Those whose blocks of code are run, or say why not."""
