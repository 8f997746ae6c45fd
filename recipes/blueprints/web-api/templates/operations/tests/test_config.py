"""Configuration: defaults, every variable, every mistake."""

import unittest

from tpl_package import config


class ConfigTest(unittest.TestCase):
    """Reading the environment."""

    def test_defaults(self):
        self.assertEqual(config.from_environ({}), config.Config())
        self.assertEqual(config.Config().port, TPL_PORT)

    def test_all_given(self):
        given = {
            "HOST": "::1", "PORT": "0", "DATABASE": ":memory:", "LOG_LEVEL": "debug",
            "SHUTDOWN_SECONDS": "2.5",
        }
        expected = config.Config("::1", 0, ":memory:", "DEBUG", 2.5)
        self.assertEqual(config.from_environ(given), expected)

    def test_all_mistakes_are_named_at_once(self):
        given = {
            "HOST": "", "PORT": "http", "DATABASE": "", "LOG_LEVEL": "loud", "SHUTDOWN_SECONDS": "x",
        }
        with self.assertRaises(config.ConfigError) as caught:
            config.from_environ(given)
        named = {problem.split()[0] for problem in caught.exception.problems}
        self.assertEqual(named, set(given))

    def test_ports(self):
        for port in ("-1", "65536", "80.5", "", "\u0663"):
            with self.subTest(port=port), self.assertRaises(config.ConfigError):
                config.from_environ({"PORT": port})
