"""``python -m backnorm`` is the command ``backnorm``."""

from backnorm.cli import main

if __name__ == "__main__":
    main()
