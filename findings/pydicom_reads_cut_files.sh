#!/usr/bin/env bash
# A DICOM Spatial Registration that was cut short (a broken copy, a full disk), read by pydicom.
#
# One would guess: an error, or at least a warning, as every element says how long it is; surely not a data set in which
# everything that is asked for is there.
#
# What happens: the last top-level value is handed out with the bytes that are left, although its length says more. In a
# registration that value is the Registration Sequence, which holds everything. Its items are then read as far as they
# go: cut after the first item (the fixed image's own frame of reference), the object is a whole, valid-looking
# registration that is the identity.
# dcmread() and str() of what it returns are silent. A reader must compare len(value) with .length of the raw elements
# (Dataset.get_item) before it touches any, as touching converts them and forgets the length.
#
# Sources: pydicom.filereader.data_element_generator reads value = fp.read(length) without looking at what came;
# DICOM PS3.5 7.1 (value length), PS3.3 C.20.2. Versions: pydicom 3.0.2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "pydicom==3.0.2"
cat > "$folder/show.py" <<'PYTHON'
import sys
import warnings
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

FIXED, MOVING = "2.25.1", "2.25.2"


def item(frame, shift):
    single, registration, one = Dataset(), Dataset(), Dataset()
    single.FrameOfReferenceTransformationMatrixType = "RIGID"
    single.FrameOfReferenceTransformationMatrix = [1, 0, 0, shift, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    registration.MatrixSequence, registration.RegistrationTypeCodeSequence = [single], []
    one.FrameOfReferenceUID, one.MatrixRegistrationSequence = frame, [registration]
    return one


def frames(path):
    data = pydicom.dcmread(path)
    str(data)
    return {
        str(one.FrameOfReferenceUID): float(
            one.MatrixRegistrationSequence[0].MatrixSequence[0].FrameOfReferenceTransformationMatrix[3]
        )
        for one in data.RegistrationSequence
    }


warnings.simplefilter("error")
root = Path(sys.argv[1])
data = Dataset()
data.file_meta = FileMetaDataset()
data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.1", "2.25.3"
data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "2.25.4", "2.25.5", "REG"
data.FrameOfReferenceUID = FIXED
data.RegistrationSequence = [item(FIXED, 0.0), item(MOVING, 40.0)]
data.save_as(root / "whole.dcm", enforce_file_format=True)
content = (root / "whole.dcm").read_bytes()
print("pydicom", pydicom.__version__)
print("shift along x of each frame of reference, whole:", frames(root / "whole.dcm"))
second = content.rindex(b"\xfe\xff\x00\xe0", 0, content.index(MOVING.encode()))  # where the second item begins
(root / "cut.dcm").write_bytes(content[:second])
found = frames(root / "cut.dcm")
print(f"cut by {len(content) - second} of {len(content)} bytes:", found)
raw = pydicom.dcmread(root / "cut.dcm").get_item("RegistrationSequence")
print("the sequence says", raw.length, "bytes and has", len(raw.value))
ok = found == {FIXED: 0.0} and len(raw.value) < raw.length
print("A registration by 40 mm became the identity, without a word:", ok)
sys.exit(0 if ok else 1)
PYTHON
"$folder/venv/bin/python" "$folder/show.py" "$folder"
