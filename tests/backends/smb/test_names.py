"""What a share cannot call a file is refused in words, whatever the server would have let pass."""

from __future__ import annotations

import pytest

from tests.backends.smb.conftest import type_make
from tests.conformance.harness import at, names_in, new_folder, put
from tests.support.samba import Samba
from vfgateway.backends.smb.names import SmbNames
from vfgateway.errors import InvalidPath, NotFound
from vfgateway.paths import FolderPath

REFUSED = {
    **dict.fromkeys(["a<b", "a>b", "a:b", 'a"b', "a|b", "a?b", "a*b", "a\\b", "a\nb", "\x1f"], "no name may hold"),
    **dict.fromkeys(["a.", "a ", "...", ".hidden."], "dot or a space"),
    **dict.fromkeys(["con", "CON", "Nul.txt", "com1", "lpt9.tar.gz", "COM³", "aux .x", "conin$"], "a device"),
    **dict.fromkeys(["\udcff", "a\udc80b"], "UTF-8"),
}
ALLOWED = ["a", ".a", " a", "a.b.c", "contact", "com", "com10", "lpt", "auxiliary.txt", "ä", "🐟", "~", "$", "%2e"]


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_refused(name: str, why: str) -> None:
    """With the reason."""
    assert why in SmbNames().objection(name)
    assert not SmbNames().allows(name)


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name: str) -> None:
    """What only looks like it is."""
    assert SmbNames().allows(name)


async def test_says_why(samba: Samba, make: type_make) -> None:
    """People are told what is wrong with the name; nothing by such a name is ever found, in whatever part of a path."""
    folder = await new_folder(await make(samba))
    for name in REFUSED:
        for path in (FolderPath((name,)), FolderPath((name, "below"))):
            with pytest.raises(NotFound):
                await folder.stat(path)
            with pytest.raises(InvalidPath):
                await folder.make_dir(path)
    with pytest.raises(InvalidPath, match=r"cannot have a\?b: no name may hold <"):
        await put(folder, "a?b", b"")
    assert await names_in(folder) == []


async def test_folds_case(samba: Samba, make: type_make) -> None:
    """The volume says that case does not matter, and where stages lie is hidden in any."""
    volume = await make(samba)
    assert volume.names.case_folding
    assert volume.names.fold("Straße.TXT") == volume.names.fold("STRASSE.txt")
    folder = await new_folder(volume)
    staged = await folder.stage(at("x"), None)
    for name in (".UPLOAD", ".Upload"):
        with pytest.raises(NotFound):
            await folder.open_dir(at(name))
        with pytest.raises(InvalidPath):
            await folder.make_dir(at(name))
    await staged.discard()


async def test_server_that_minds_case(make: type_make, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The server is asked, not assumed to fold."""
    with Samba(tmp_path_factory.mktemp("exact") / "server", options={"case sensitive": "yes"}) as samba:
        volume = await make(samba)
        assert not volume.names.case_folding
        folder = await new_folder(volume)
        await put(folder, "a", b"1")
        await put(folder, "A", b"2")
        assert await names_in(folder) == ["A", "a"]
        await volume.stop()
