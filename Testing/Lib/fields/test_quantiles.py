import pytest
import torch

from DeepRegistrationLib.fields.quantiles import quantiles, thinned


@pytest.mark.parametrize("count", [1, 2, 3, 10, 997, 100_000])
def test_they_are_those_of_torch_to_the_last_digit(count):
    generator = torch.Generator().manual_seed(count)
    shares = (0.005, 0.01, 0.5, 0.99, 0.995)
    for values in (torch.randn(count, generator=generator), torch.randint(0, 3, (count,), generator=generator).float()):
        before = values.clone()
        assert torch.equal(quantiles(values, shares), torch.quantile(values, torch.tensor(shares)))
        assert torch.equal(values, before)


def test_of_many_values_about_so_many_are_left_and_of_few_all():
    values = torch.arange(1000)
    assert torch.equal(thinned(values, 2000), values)
    assert torch.equal(thinned(values, 100), values[::10])
    assert 0 < len(thinned(values, 300)) <= 2 * 300
