"""The exceptions."""

import pickle

from vlae_codec import errors


def test_complete():
    public = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert set(errors.__all__) == public
    assert sorted(errors.__all__) == errors.__all__
    for name in errors.__all__:
        assert name in str(errors.__doc__)
        assert issubclass(getattr(errors, name), errors.VlaeError)


def test_messages():
    unknown = errors.UnknownModel(bytes(8), ["here", "there"])
    for error, words in [
        (unknown, ("0000000000000000", "here, there", "--model")),
        (errors.OutputExists("a.png"), ("a.png", "--force")),
        (errors.EmptyStack(), ("damaged", "fresh copy")),
    ]:
        assert all(word in str(error) for word in words)
        again = pickle.loads(pickle.dumps(error))  # worker processes send them
        assert type(again) is type(error)
        assert str(again) == str(error)
