import pytest
import torch

from DeepRegistrationLib.fields.quantiles import quantiles


@pytest.mark.parametrize("count", [1, 2, 3, 10, 997, 100_000])
def test_they_are_those_of_torch_to_the_last_digit(count):
    generator = torch.Generator().manual_seed(count)
    shares = (0.005, 0.01, 0.5, 0.99, 0.995)
    for values in (torch.randn(count, generator=generator), torch.randint(0, 3, (count,), generator=generator).float()):
        before = values.clone()
        assert torch.equal(quantiles(values, shares), torch.quantile(values, torch.tensor(shares)))
        assert torch.equal(values, before)
