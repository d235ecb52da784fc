"""Learning rates against values worked out by hand."""

import pytest

from engine.schedule import Schedule


def test_step_is_the_papers_decay():
    schedule = Schedule("step", 1e-4, 350, decay_factor=0.3, decay_epochs=50)  # FFLD, Sec. 6.6
    assert schedule.rate(0) == pytest.approx(1e-4)
    assert schedule.rate(49.99) == pytest.approx(1e-4)
    assert schedule.rate(50) == pytest.approx(3e-5)
    assert schedule.rate(349.99) == pytest.approx(1e-4 * 0.3**6)


def test_cosine_is_half_way_in_the_middle_and_zero_at_the_end():
    schedule = Schedule("cosine", 2.0, 100)
    assert schedule.rate(50) == pytest.approx(1.0)
    assert schedule.rate(25) == pytest.approx(1 + 2**-0.5)
    assert schedule.rate(100) == pytest.approx(0.0, abs=1e-12)


def test_warmup_rises_to_the_full_rate():
    schedule = Schedule("constant", 1.0, 10, warmup_epochs=2)
    assert 0 < schedule.rate(0) < 1e-2
    assert schedule.rate(1) == pytest.approx(0.5, abs=1e-3)
    assert schedule.rate(2) == schedule.rate(9) == 1.0


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="step, milestones, cosine, constant"):
        Schedule("linear", 1.0, 10)


def test_milestones_are_the_hourglass_papers():
    schedule = Schedule("milestones", 4e-5, 50, decay_factor=0.1, decay_milestones=(20, 35))
    rates = [schedule.rate(epochs) for epochs in (0, 19.9, 20, 34.9, 35, 49)]
    assert rates == pytest.approx([4e-5, 4e-5, 4e-6, 4e-6, 4e-7, 4e-7])
