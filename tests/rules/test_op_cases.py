"""Every worked case of rules/ops, on every operator of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from padaudit.audit.sites import site_of
from padaudit.ir.walk import Visit
from padaudit.rules.load import op_tables
from padaudit.rules.schema import OpCase, Operator, OpTable

BuildVisit = Callable[..., Visit]
T = TypeVar("T")


def all_cases() -> Iterator[object]:
    for table in op_tables():
        for operator in table.operators:
            domain = f"{operator.domain}." if operator.domain else ""
            for number, case in enumerate(table.cases):
                name = f"{table.framework}-{domain}{operator.name}-{case.padding}-{number}"
                yield pytest.param(table, operator, case, id=name)


def fitted(values: Sequence[T], operator: Operator) -> list[T]:
    """Repeat or cut per-axis values to the operator's rank."""
    rank = operator.rank or len(values)
    return [values[axis % len(values)] for axis in range(rank)]


def native_attributes(table: OpTable, operator: Operator, case: OpCase) -> dict[str, Any]:
    words = table.window
    named = {
        table.padding.attribute: case.padding,
        words.kernel_shape: fitted(case.kernel, operator),
        words.strides: fitted(case.stride, operator),
        words.dilations: fitted(case.dilation, operator),
    }
    named.pop("", None)
    return named


def data_shape(table: OpTable, operator: Operator, case: OpCase) -> list[int]:
    leading = [97] * (1 + table.leading_axes)
    sizes = fitted(case.input, operator)
    channels_last = table.framework == "keras" or operator.channels_last
    return [*leading, *sizes, 83] if channels_last else [*leading, 83, *sizes]


@pytest.mark.parametrize(("table", "operator", "case"), all_cases())
def test_the_case_resolves(
    table: OpTable, operator: Operator, case: OpCase, visit_of: BuildVisit
) -> None:
    layer = table.framework == "keras" and not operator.domain
    domain = "keras" if layer else operator.domain
    attributes = native_attributes(table, operator, case)
    visit = visit_of(domain, operator.name, attributes, data_shape(table, operator, case))
    site = site_of(visit)
    assert site is not None
    assert site.family is table.family
    assert site.pads == tuple(fitted(case.pads, operator))
    assert site.input_size == tuple(fitted(case.input, operator))
    assert site.output_size == tuple(fitted(case.output, operator))
    assert site.implicit is (site.padding.value != "valid")


@pytest.mark.parametrize("table", op_tables(), ids=lambda table: table.cases[0].padding)
def test_a_table_has_a_case_that_can_fail(table: OpTable) -> None:
    """Some case pads unequally, and some case has another value on every axis."""
    assert any(before != after for case in table.cases for before, after in case.pads)
    two_axes = [case for case in table.cases if len(case.kernel) > 1]
    assert any(len(set(case.kernel)) > 1 and len(set(case.input)) > 1 for case in two_axes)


@pytest.mark.parametrize("table", op_tables(), ids=lambda table: table.source)
def test_a_table_says_why_its_sites_stay(table: OpTable) -> None:
    """Either a strategy rewrites the sites, or a clause without a full stop says why none does."""
    assert bool(table.strategies) is not bool(table.kept)
    assert not table.kept.endswith(".")
    assert table.source.startswith("https://")
