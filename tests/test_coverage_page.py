"""The page of what can be transformed says what is so today."""

import coverage_page


def test_coverage_page_is_current():
    assert coverage_page.page() == coverage_page.PAGE.read_text(), (
        "docs/coverage.md is not current: run make coverage"
    )
