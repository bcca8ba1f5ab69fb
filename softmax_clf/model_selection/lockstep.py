"""Several solvers side by side: what they ask for alike is answered in one pass over the rows."""

import itertools
from collections import defaultdict

import numpy as np

from ..kernels.threads import run_tasks
from ..messages import check_start
from ..solvers.questions import Arrived, AtScores, Naturals, Scores


class Lockstep:
    """Solvers, one a problem: each round answers one kind of question, of all that have not ended and ask it.

    Parameters
    ----------
    stack : StackedObjectives
    solvers : dict of problem to generator
    at_start : callable (problem, point, objective)
        Called for where each problem starts, of all of them before any solver goes on from there.
    n_threads : int
        For solvers that have much to do before their first question, or ask none: these go on at the same time, until
        then, and may not know of each other.
    """

    def __init__(self, stack, solvers, at_start, n_threads=1):
        self.stack, self.solvers, self.at_start, self.n_threads = stack, solvers, at_start, n_threads
        self.questions = {}  # by problem; a point is one, too
        self.solutions = {}
        self.has_started = False

    def run(self):
        """Let all solvers end.

        Returns
        -------
        list of Solution, in the order of the problems
        """
        problems = sorted(self.solvers)
        run_tasks(lambda q, slot: self._answer(problems[q], None), len(problems), self.n_threads)
        self.questions = dict(sorted(self.questions.items()))  # not as they came
        while self.questions:
            for kind, answer_all in (
                (Naturals, self._solve_by_metrics),
                (Arrived, self._count_arrivals),
                (Scores, self._write_scores),
                (AtScores, self._evaluate_at_scores),
                (np.ndarray, self._evaluate),
            ):
                if problems := [m for m, question in self.questions.items() if isinstance(question, kind)]:
                    answer_all(problems)
                    break
        return [self.solutions[m] for m in sorted(self.solutions)]

    def _answer(self, m, answer):
        try:
            self.questions[m] = self.solvers[m].send(answer)
        except StopIteration as end:
            self.solutions[m] = end.value
            if end.value.grad is not None:
                end.value.grad = end.value.grad.copy()  # no view, which would keep those of the others

    def _take(self, problems):
        return [self.questions.pop(m) for m in problems]

    def _solve_by_metrics(self, problems):
        by_metric = defaultdict(list)
        for m in problems:
            by_metric[id(self.questions[m].metric)].append(m)
        for alike in by_metric.values():
            questions = self._take(alike)
            grads = itertools.chain.from_iterable(question.grads for question in questions)
            steps = questions[0].metric.solve_all(np.stack(list(grads)))
            ends = itertools.accumulate(len(question.grads) for question in questions)
            parts = [steps[start:end] for start, end in itertools.pairwise([0, *ends])]
            del questions, steps  # or they and their metric would be kept beside the next
            for m in alike:
                self._answer(m, parts.pop(0))

    def _count_arrivals(self, problems):
        self.stack.arrived(problems)
        self._take(problems)
        for m in problems:
            self._answer(m, None)

    def _write_scores(self, problems):
        problems = sorted(problems)
        questions = self._take(problems)
        outs, are_directions = [q.out for q in questions], [q.is_direction for q in questions]
        self.stack.raw_scores(problems, [q.point for q in questions], outs, are_directions)
        for m in problems:
            self._answer(m, None)

    def _evaluate_at_scores(self, problems):
        problems = sorted(problems)
        questions = self._take(problems)
        results = self.stack.evaluate_at(problems, [q.point for q in questions], [q.scores for q in questions])
        for m, result in zip(problems, results, strict=True):
            self._answer(m, result)

    def _evaluate(self, problems):
        problems = sorted(problems)
        points = self._take(problems)
        results = self.stack.evaluate(problems, points)
        if not self.has_started:
            self.has_started = True
            for m, point, result in zip(problems, points, results, strict=True):
                self._begin(m, point, *result, is_first=self.stack.n_passes == len(problems))
        for m, result in zip(problems, results, strict=True):
            self._answer(m, result)

    def _begin(self, m, point, objective, grad, is_first):
        stack = self.stack
        if is_first:
            check_start(stack, objective, grad)
        l1 = stack.nonsmooth(m).value(point) if stack.elastic_nets[m].l1_reg_strength else 0.0
        self.at_start(m, point, objective + l1)
