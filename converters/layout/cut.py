"""The cheapest of all ways to say yes or no to each of many questions: a minimum cut, by Dinic's algorithm.

Two kinds of cost are enough for layouts, and for both the cheapest way is found exactly: that a question is answered
in one way, and that one question is answered no while another is answered yes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

NO, YES = -1, -2  # the two answers, as questions that are answered
NEVER = 1 << 200  # a cost larger than any sum of others


class Costs:
    """What answers cost. Questions are numbers from 0."""

    def __init__(self, questions: int) -> None:
        self._next = questions
        self._left: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, no: int, yes: int, cost: int) -> None:
        """It costs this much if `no` is answered no and `yes` is answered yes; either may be NO or YES itself."""
        if no != yes and cost:
            self._left[no][yes] += cost
            self._left[yes][no] += 0

    def any_no(self, questions: Iterable[int], yes: int, cost: int) -> None:
        """It costs this much, once, if any of the questions is answered no and `yes` is answered yes."""
        self._next += 1
        for question in questions:
            self.add(question, self._next - 1, NEVER)
        self.add(self._next - 1, yes, cost)

    def any_yes(self, no: int, questions: Iterable[int], cost: int) -> None:
        """It costs this much, once, if `no` is answered no and any of the questions is answered yes."""
        self._next += 1
        for question in questions:
            self.add(self._next - 1, question, NEVER)
        self.add(no, self._next - 1, cost)

    def settle(self) -> set[int]:
        """The questions to answer yes for the least cost: the fewest, where several ways cost the same."""
        while levels := self._levels():
            rest = {node: list(targets) for node, targets in self._left.items()}
            while self._augment(levels, rest):
                pass
        return self._reaching_yes()

    def _levels(self) -> dict[int, int]:
        """How far each question is from NO, along costs that are not used up; empty if YES can't be reached."""
        levels, queue = {NO: 0}, deque([NO])
        while queue:
            node = queue.popleft()
            for target, left in self._left[node].items():
                if left > 0 and target not in levels:
                    levels[target] = levels[node] + 1
                    queue.append(target)
        return levels if YES in levels else {}

    def _augment(self, levels: dict[int, int], rest: dict[int, list[int]]) -> bool:
        """Use up the costs along one more shortest way from NO to YES; False if there is none."""
        path = [NO]
        while path[-1] != YES:
            node = path[-1]
            while rest[node]:
                target = rest[node][-1]
                if self._left[node][target] > 0 and levels.get(target) == levels[node] + 1:
                    path.append(target)
                    break
                rest[node].pop()
            else:
                path.pop()
                if not path:
                    return False
                rest[path[-1]].pop()
        steps = list(zip(path, path[1:], strict=False))
        least = min(self._left[a][b] for a, b in steps)
        for a, b in steps:
            self._left[a][b] -= least
            self._left[b][a] += least
        return True

    def _reaching_yes(self) -> set[int]:
        found, queue = {YES}, deque([YES])
        while queue:
            node = queue.popleft()
            for source in self._left[node]:
                if source not in found and self._left[source][node] > 0:
                    found.add(source)
                    queue.append(source)
        return found - {YES}
