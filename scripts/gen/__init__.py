"""Generation: everything under generated/ is made from protos/ by this package, byte for byte the same each time."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
GENERATED = ROOT / "generated"
CACHE = ROOT / ".cache" / "protos"
