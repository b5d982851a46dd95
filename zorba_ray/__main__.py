"""`python -m zorba_ray` is the program `zorba-ray`."""

from zorba_ray.cli.main import main

if __name__ == "__main__":
    main()
